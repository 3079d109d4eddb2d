/** The report's style sheet: system fonts, both colour schemes, nothing fetched. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfcfd; --card: #ffffff; --ink: #17212b; --soft: #5b6875; --line: #dde3e9; --hair: #eaeef2;
  --block: #5b5bd6; --dense: #2f9e77; --depthwise: #e08a1e; --other: #aeb8c2;
  --water: #cfe6fb; --deep: #3b8fd9; --dry: #d9822b; --good: #177a52; --bad: #c0392b;
  --alarm: #fff3d6; --alarm-line: #e2a93b; --alarm-ink: #5c4205;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #11161c; --card: #182029; --ink: #e6ebf0; --soft: #9aa7b4; --line: #2c3744; --hair: #232d38;
    --block: #8b8cf7; --dense: #3fbf92; --depthwise: #f0a548; --other: #5a6673;
    --water: #17334d; --deep: #57a9ef; --dry: #eb9d4b; --good: #4cc490; --bad: #f0776a;
    --alarm: #3a2e10; --alarm-line: #b98a2b; --alarm-ink: #f7dfa6;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif;
}
main { max-width: 1260px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 12px; letter-spacing: -0.005em; }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 6px 0; }
.soft, figcaption { color: var(--soft); font-size: 13px; }
.alarm {
  background: var(--alarm); border: 1px solid var(--alarm-line); border-left-width: 5px; color: var(--alarm-ink);
  border-radius: 6px; padding: 10px 16px; margin: 18px 0;
}
.alarm ul { margin: 4px 0; padding-left: 18px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 14px 0; }
.tile { flex: 1 1 auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 18px; font-weight: 650; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile span { color: var(--soft); font-size: 12.5px; }
figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 12px 0; padding: 14px 14px 10px; }
figcaption { margin-top: 8px; max-width: 95ch; }
.plot { display: block; width: 100%; height: auto; font: 11px system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif; }
.plot text { fill: var(--ink); }
.plot .tick, .plot .axis { fill: var(--soft); font-variant-numeric: tabular-nums; }
.plot .lane { font-size: 12.5px; font-weight: 600; }
.plot .inside { fill: #fff; font-size: 10.5px; pointer-events: none; }
.plot .halo { font-weight: 600; fill: var(--deep); paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
.plot .grid { stroke: var(--hair); stroke-width: 1; }
.plot .block { fill: var(--block); } .plot .dense { fill: var(--dense); }
.plot .depthwise { fill: var(--depthwise); } .plot .other { fill: var(--other); }
.plot .ribbon { fill: var(--block); opacity: 0.18; stroke: var(--card); stroke-width: 2; } .plot .ribbon:hover { opacity: 0.4; }
.plot .water { fill: var(--water); opacity: 0.55; }
.plot .waterline { stroke: var(--deep); stroke-width: 1.5; }
.plot .submerged { fill: var(--deep); } .plot .dry { fill: var(--dry); }
.plot rect:hover { filter: brightness(1.15); }
.plot .gap-line { stroke-width: 2; stroke-dasharray: 5 4; } .plot .gap-tick { stroke-width: 2; }
.plot .unfused { stroke: var(--soft); } .plot .fused { stroke: var(--block); }
.plot .gap text { stroke: none; }
.plot .unfused .ideal { fill: var(--soft); } .plot .fused .ideal { fill: var(--block); }
.plot .actual { fill: var(--card); stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 12.5px; color: var(--soft); margin: 0 0 8px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; vertical-align: -1px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin: 8px 0; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--hair); }
th { color: var(--soft); font-weight: 600; background: var(--paper); border-bottom-color: var(--line); }
th.left, td.left { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover td { background: var(--paper); }
td.good { color: var(--good); font-weight: 600; } td.bad { color: var(--bad); font-weight: 600; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--soft); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 18px; }
#tip {
  position: fixed; z-index: 9; pointer-events: none; white-space: pre; background: var(--ink); color: var(--paper);
  border-radius: 6px; padding: 7px 10px; font-size: 12.5px; line-height: 1.4; opacity: 0; max-width: 90vw;
}
@media print { main { max-width: none; } details { display: none; } }
`;

/** Shows a mark's <title> beside the pointer at once; without scripts the browser shows it after a while. */
export const PAGE_SCRIPT = `
const tip = document.body.appendChild(Object.assign(document.createElement('div'), {id: 'tip'}));
for (const title of document.querySelectorAll('.plot title')) {
  title.parentElement.dataset.tip = title.textContent;
  title.remove();
}
addEventListener('pointermove', (event) => {
  const mark = event.target.closest?.('[data-tip]');
  tip.style.opacity = mark ? 1 : 0;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  const below = event.clientY + 18 + tip.offsetHeight < innerHeight;
  tip.style.left = Math.max(8, x) + 'px';
  tip.style.top = (below ? event.clientY + 18 : event.clientY - tip.offsetHeight - 12) + 'px';
});
`;
