import {
  blocksCSV,
  comparisonText,
  opsCSV,
  profileText,
  reportPage,
  traceOf,
  waterlineOf,
} from '../../src/profile/index.js';
import {formatBytes, formatMs, formatScaled, formatTable} from '../../src/profile/format.js';
import {linearScale, logScale} from '../../src/profile/plots/scale.js';
import {makeComparison, makeProfile, PEAKS, row} from './rows.js';

describe('format', () => {
  it('gives numbers three digits and a unit', () => {
    expect([0.00123, 0.5, 1.234, 12.34, 123.4].map(formatMs)).toEqual([
      '0.001',
      '0.500',
      '1.23',
      '12.3',
      '123',
    ]);
    expect(formatMs(null)).toBe('–');
    expect(formatScaled(4.1e12)).toBe('4.10 T');
    expect([0, 999, 1500, 2.5e6].map(formatBytes)).toEqual(['0 B', '999 B', '1.50 kB', '2.50 MB']);
  });

  it('aligns text to the left and numbers to the right, without trailing spaces', () => {
    const table = formatTable<readonly [string, string]>(
      [
        {title: 'op', align: 'left', text: ([op]) => op},
        {title: 'ms', align: 'right', text: ([, ms]) => ms},
      ],
      [
        ['Conv2D', '1.5'],
        ['Add', '10.25'],
      ],
    );
    expect(table.split('\n')).toEqual(['op         ms', '──────  ─────', 'Conv2D    1.5', 'Add     10.25']);
  });
});

describe('text', () => {
  it('has a line per op, the totals, and the warnings first', () => {
    const rows = [row('stem', 'Conv2D'), row('act', 'Relu', {macs: 0, gpuMs: 0.25})];
    const text = profileText(makeProfile('net', rows, {warnings: ['beware']}));
    expect(text.startsWith('WARNING: beware\n')).toBeTrue();
    expect(text).toContain('waterline 10.0 ops/byte');
    expect(text).toMatch(/^stem +Conv2D +1×8×8×4 +1 +0\.500 +0\.900 +0\.200 +1\.00 k +500 B +4\.0$/m);
    expect(text).toContain('2 ops, 2 dispatches, GPU 0.750 ms');
  });

  it('says what could not be measured by a dash, not by 0', () => {
    const text = profileText(makeProfile('net', [row('stem', 'Conv2D', {gpuMs: null, dispatches: null})]));
    expect(text).toContain('1 ops, – dispatches, GPU – ms');
  });

  it('shows blocks, totals, differences and classes of a comparison', () => {
    const text = comparisonText(makeComparison());
    expect(text).toMatch(
      /stage\/block_1\/add +MBConv +1×8×8×4 +3 +3 → 1 +1\.50 +0\.500 +3\.00× +2\.50–3\.50/,
    );
    expect(text).toMatch(/bytes moved +2\.00 kB +1\.00 kB/);
    expect(text).toContain('output scores [1, 5]: largest difference 1.0e-7, 2.0e-7 of its largest value');
    expect(text).toMatch(/1 +cat 0\.7500 +cat 0\.7501/);
    expect(comparisonText(makeComparison({blocks: []}))).toContain('No block was fused in this model.');
  });
});

describe('CSV', () => {
  it('quotes what needs it and leaves the unknown empty', () => {
    const odd = row('a,"b"', 'Conv2D', {gpuMs: null, weightShapes: [[1, 1, 4, 4], [4]]});
    const lines = opsCSV([makeProfile('net', [odd])]).split('\r\n');
    expect(lines[0]).toMatch(/^model,name,op,is_block,/);
    expect(lines[1]).toBe('net,"a,""b""",Conv2D,false,1x8x8x4,1x1x4x4 4,1x8x8x4,1,,0.9,0.2,1000,500,4');
    expect(lines[2]).toBe('');
  });

  it('has a field for every title of a block', () => {
    const [titles, values] = blocksCSV(makeComparison().blocks).split('\r\n');
    expect(values?.split(',').length).toBe(titles?.split(',').length);
    const record = Object.fromEntries(
      (titles ?? '').split(',').map((title, i) => [title, values?.split(',')[i]]),
    );
    expect(record).toEqual(
      jasmine.objectContaining({
        gpu_ms_before: '1.5',
        gpu_ms_after: '0.5',
        speedup: '3',
        max_abs_difference: '0.0000015',
      }),
    );
  });
});

describe('Chrome trace', () => {
  it('has named lanes per profile, and events in µs from 0', () => {
    const {before, after} = makeComparison();
    const {traceEvents} = traceOf([before, after]);
    const names = traceEvents.filter(({ph}) => ph === 'M').map(({pid, args}) => [pid, args['name']]);
    expect(names).toEqual([
      [1, 'net, op by op'],
      [1, 'CPU'],
      [1, 'GPU'],
      [2, 'net, fused'],
      [2, 'CPU'],
      [2, 'GPU'],
    ]);
    const block = traceEvents.filter(({name}) => name === 'stage/block_1/add');
    expect(block.map(({ph, cat, pid, tid, ts, dur}) => ({ph, cat, pid, tid, ts, dur}))).toEqual([
      {ph: 'X', cat: 'block', pid: 2, tid: 1, ts: 0, dur: 200},
      {ph: 'X', cat: 'block', pid: 2, tid: 2, ts: 250, dur: 500},
    ]);
    expect(block[1]?.args).toEqual(
      jasmine.objectContaining({op: 'BlockMBConv', macs: 7000, flops: 14_000, bytes: 500}),
    );
  });

  it('leaves out the GPU lane of an op without timestamps', () => {
    const {traceEvents} = traceOf([makeProfile('net', [row('stem', 'Conv2D', {gpu: null})])]);
    expect(traceEvents.filter(({ph}) => ph === 'X').length).toBe(1);
  });
});

describe('waterlineOf', () => {
  it('is the op-weighted harmonic mean of what each kernel can reach', () => {
    // Above water: 20 op/byte, 2e6 ops = 2 ms. Under it: 2 op/byte, 1e5 bytes = 1 ms for 0.2 ms of arithmetic.
    const rows = [
      row('dense', 'Conv2D', {macs: 1e6, bytes: 1e5, gpuMs: 4}),
      row('thin', 'DepthwiseConv2dNative', {macs: 1e5, bytes: 1e5, gpuMs: 2}),
      row('view', 'Reshape', {macs: 0, bytes: 0, gpuMs: 0}),
    ];
    const waterline = waterlineOf(rows, PEAKS);
    expect(waterline.bars.map(({name, isSubmerged}) => [name, isSubmerged])).toEqual([
      ['dense', false],
      ['thin', true],
    ]);
    expect(waterline.idealMs).toBeCloseTo(2.2, 9);
    expect(waterline.attainableMs).toBeCloseTo(3, 9);
    expect(waterline.attainableEfficiency).toBeCloseTo(2.2 / 3, 9);
    expect(waterline.measuredEfficiency).toBeCloseTo(2.2 / 6, 9);
    expect(waterline.rooflineEfficiency).toBe(1); // 2.2e6 / 2e5 = 11 op/byte: the roofline sees no limit.
  });
});

describe('scales', () => {
  it('put ticks at 1, 2 or 5 times a power of ten, and map ends to ends', () => {
    const linear = linearScale(47, 10, 110, 5);
    expect(linear.ticks).toEqual([0, 10, 20, 30, 40]);
    expect([linear.at(0), linear.at(47)]).toEqual([10, 110]);
    const log = logScale(0.1, 900, 200, 0);
    expect(log.ticks.map((tick) => Math.round(tick * 10) / 10)).toEqual([0.1, 1, 10, 100, 1000]);
    expect([log.at(0.1), log.at(10), log.at(0)]).toEqual([200, 100, 200]);
  });
});

describe('report page', () => {
  const page = (): string =>
    reportPage({title: 'A <report>', comparisons: [makeComparison({warnings: ['beware & see']})]});

  it('fetches nothing', () => {
    expect(page()).not.toMatch(/https?:|src=|@import|url\(/);
  });

  it('escapes what it is given and shows warnings before numbers', () => {
    const text = page();
    expect(text).toContain('<h1>A &lt;report&gt;</h1>');
    expect(text.indexOf('beware &amp; see')).toBeGreaterThan(0);
    expect(text.indexOf('beware &amp; see')).toBeLessThan(text.indexOf('<h2>'));
  });

  it('draws both timelines, both waterlines, a ribbon per block and the efficiency gap', () => {
    const text = page();
    expect(text).toContain('op by op · 4 ops · 2.00 ms');
    expect(text).toContain('fused · 2 ops · 1.00 ms');
    expect(text.match(/class="ribbon"/g)?.length).toBe(1);
    expect(text.match(/class="waterline"/g)?.length).toBe(2);
    expect(text.match(/class="submerged"/g)?.length).toBe(4);
    expect(text.match(/class="dry"/g)?.length).toBe(2);
    expect(text.match(/class="actual"/g)?.length).toBe(2);
    expect(text).toContain('this choice is ours');
  });

  it('is well-formed markup', () => {
    const open: string[] = [];
    const body = page().replace(/<(style|script)>[\s\S]*?<\/\1>/g, '');
    for (const [, close, tag] of body.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/gi)) {
      if (tag === 'meta' || tag === 'br') continue;
      if (close === '') open.push(tag ?? '');
      else expect(open.pop()).toBe(tag);
    }
    expect(open).toEqual([]);
  });

  it('shows a single profile without a comparison, also without peaks', () => {
    const text = reportPage({
      title: 't',
      profiles: [makeProfile('net', [row('stem', 'Conv2D')], {peaks: null})],
    });
    expect(text).toContain('<h3>Ops</h3>');
    expect(text).not.toContain('Efficiency gap');
  });
});
