import json, math, sys
import numpy as np
from scipy.optimize import least_squares
rows=[r for f in sys.argv[1:] for r in json.load(open(f))]
P=132; LAUNCH=2.0; BW=4.1e6 # bytes per us
from collections import defaultdict
by=defaultdict(list)
for r in rows: by[r['tile']].append(r)
def feats(r):
    tm,tn,tk,a,b,s=map(int,r['tile'].split('.'))
    T=math.ceil(r['m']/tm)*math.ceil(r['n']/tn)
    steps=math.ceil(math.ceil(r['k']/tk)/s)
    by=4*(r['m']*r['k']+r['m']*r['n']+r['k']*r['n'])/BW
    return T,steps,by
def est(p,S,T,steps,by):
    lat,thr,fix,fthr=np.exp(p)
    a=math.ceil(T/(P*S))*(steps*lat+fix)
    b=math.ceil(T/P)*(steps*thr+fthr)
    return LAUNCH+max(a,b,by)
out={}
for tile,rs in by.items():
    if len(rs)<4: continue
    F=[feats(r) for r in rs]; y=[math.log(r['us']) for r in rs]
    best=None
    for S in (1,2,3,4,5,6,8,10,12,16):
        f=lambda p:[math.log(est(p,S,*x))-t for x,t in zip(F,y)]+[0.05*(p[2]-math.log(1.5)),0.05*(p[3]-math.log(.3))]
        for init in ([-0.5,-1.5,0.2,-1.5],[-1,-0.5,0,-1]):
            q=least_squares(f,init,loss='soft_l1',f_scale=0.1)
            c=np.mean(np.abs(f(q.x)[:-2]))
            if best is None or c<best[0]*0.98: best=(c,S,np.exp(q.x))
    out[tile]=best
    print(tile.ljust(20),len(rs),'err %.1f%%'%(100*best[0]),'slots',best[1],'lat %.3f thr %.4f fix %.2f fthr %.3f'%tuple(best[2]))
# regret
prob=defaultdict(dict)
for r in rows: prob[(r['m'],r['n'],r['k'])][r['tile']]=r['us']
def regret(tiles,verbose=False):
    tot=0;n=0;w=[]
    for p,d in prob.items():
        c=[t for t in d if t in tiles]
        if not c: continue
        e={t:est(np.log(out[t][2]),out[t][1],*feats({'m':p[0],'n':p[1],'k':p[2],'tile':t})) for t in c}
        ch=min(e,key=e.get); b=min(d.values())
        tot+=d[ch]/b-1;n+=1; w.append((d[ch]/b,p,ch,min(d,key=d.get)))
    return tot/n,sorted(w,reverse=True)[:8]
tiles=set(out)
print('all',len(tiles),regret(tiles))
# greedy removal keeping regret small
while len(tiles)>6:
    best=None
    for t in tiles:
        # require every problem still has a tile
        r=regret(tiles-{t})[0]
        if all(any(x in tiles-{t} for x in d) for d in prob.values()) and (best is None or r<best[0]): best=(r,t)
    if best is None or best[0]>0.0195: break
    tiles.remove(best[1])
print('kept',len(tiles),regret(tiles))
for t in sorted(tiles,key=lambda t:[-int(x) for x in t.split('.')]): print('  rated([%s], %d, %.3g, %.3g, %.3g, %.3g),'%(t.replace('.',', '),out[t][1],*out[t][2]))
