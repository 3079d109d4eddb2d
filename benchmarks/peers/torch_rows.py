"""PyTorch's milliseconds for one network, a row of JSON a line for each batch.

    python3 torch_rows.py NETWORK [--batches 1,8] [--size 224] [--runs 30] [--seconds 4] [--device cuda] [--graphs-only] [--compile]

eager: the model called as it is; graph: its launches recorded as a CUDA graph and replayed, with the batch norms folded into the
convolutions, as ours are, and in the faster memory format of two, which `…Layout` names. f32 has tensor cores off, tf32 on.
`…Ms` is the time between two CUDA events around one call, `…WallMs` the wall clock of one call with its output read back; medians. cuDNN
searches its fastest algorithms (`benchmark`). --compile adds torch.compile (max-autotune) of f16, which takes minutes. Weights are
random: only the time counts. --graphs-only leaves eager out. Without CUDA, `--device cpu` gives eagerF32 alone, to try the script.
"""
import argparse
import copy
import json
import time
import warnings

import torch
from folding import folded, norms_left
from networks import make

warnings.filterwarnings('ignore')
parser = argparse.ArgumentParser()
parser.add_argument('network')
parser.add_argument('--batches', default='1,8,32,128')
parser.add_argument('--size', type=int, default=224)
parser.add_argument('--runs', type=int, default=30)
parser.add_argument('--seconds', type=float, default=4, help='a median ends after so long, with five runs at least')
parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'])
parser.add_argument('--graphs-only', action='store_true')
parser.add_argument('--compile', action='store_true')
args = parser.parse_args()
ON_GPU = args.device == 'cuda'


def say(value):
    print(json.dumps(value), flush=True)


def medians(once, warm_up=0.0):
    """`once` gives the milliseconds of one call. An idle GPU is slow: it needs half a second of warm-up once."""
    start = time.perf_counter()
    count = 0
    while count < 3 or time.perf_counter() - start < warm_up:
        once()
        count += 1
    times = []
    start = time.perf_counter()
    while len(times) < args.runs and (len(times) < 5 or time.perf_counter() - start < args.seconds):
        times.append(once())
    return sorted(times)[len(times) // 2]


def event_ms(run):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def wall_ms(run):
    start = time.perf_counter()
    run().cpu()
    return 1000 * (time.perf_counter() - start)


def timed(name, run):
    events = {f'{name}Ms': medians(lambda: event_ms(run), 0.5)} if ON_GPU else {}
    return {**events, f'{name}WallMs': medians(lambda: wall_ms(run))}


def captured(run):
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay():
        graph.replay()
        return output

    return replay


def tensor_cores(on):
    torch.backends.cudnn.allow_tf32 = on
    torch.backends.cuda.matmul.allow_tf32 = on


FORMATS = {'NCHW': torch.contiguous_format, 'NHWC': torch.channels_last}


def in_formats(model):
    """A copy for each: a graph keeps the addresses of its weights."""
    return {layout: copy.deepcopy(model).to(memory_format=form) for layout, form in FORMATS.items()}


def timed_graph(name, models, x):
    """Of the two memory formats the one that five replays find faster."""
    inputs = {layout: x.contiguous(memory_format=form) for layout, form in FORMATS.items()}
    replays = {layout: captured(lambda: models[layout](inputs[layout])) for layout in FORMATS}
    quick = {layout: sorted(event_ms(replay) for _ in range(5))[2] for layout, replay in replays.items()}
    layout = min(quick, key=quick.get)
    return {**timed(name, replays[layout]), f'{name}Layout': layout}


def row(batch, plain, lean, half):
    x = torch.randn(batch, 3, args.size, args.size, device=args.device)
    result = {}
    if not (ON_GPU and args.graphs_only):
        tensor_cores(False)
        result = timed('eagerF32', lambda: plain(x))
    if not ON_GPU:
        return result
    tensor_cores(True)
    result |= timed_graph('graphTf32', lean, x)
    result |= timed_graph('graphF16', half, x.half())
    if args.compile:
        compiled = torch.compile(half['NHWC'], mode='max-autotune')
        xh = x.half().contiguous(memory_format=torch.channels_last)
        result |= timed('compiledF16', lambda: compiled(xh))
    return result


torch.backends.cudnn.benchmark = True
about = {'torch': torch.__version__}
if ON_GPU:
    about |= {
        'gpu': torch.cuda.get_device_name(),
        'cuda': torch.version.cuda,
        'cudnn': torch.backends.cudnn.version(),
    }
plain = make(args.network)
lean = folded(plain, torch.zeros(1, 3, args.size, args.size))
say({'about': {**about, 'batchNormsLeft': norms_left(lean)}})
plain = plain.to(args.device)
# Without a GPU there are no graphs.
lean_in = in_formats(lean.to(args.device)) if ON_GPU else None
half_in = in_formats(lean.to(args.device).half()) if ON_GPU else None
with torch.inference_mode():
    for number in map(int, args.batches.split(',')):
        say({'batch': number, **row(number, plain, lean_in, half_in)})
        if ON_GPU:
            torch.cuda.empty_cache()
