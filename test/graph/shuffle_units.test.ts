/** Units that pass half of the channels by: each is one block, whatever the halves and the shuffle were spelled with. */
import type * as tf from '@tensorflow/tfjs-core';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import {branch, type Cut, CUTS, halving, MIXES, normal, unit} from '../support/shuffle_units.js';
import {TestGraph} from '../support/test_graph.js';

const feed = {x: [2, 8, 8, 8]};
const size = {h: 8, w: 8, c: 8};
const half = {h: 4, w: 4, c: 16};

function start(): TestGraph {
  const g = new TestGraph();
  g.input('x', [-1, 8, 8, 8]);
  return g;
}

/** The same by PyTorch and onnx-tf: maps with channels first, each convolution between two transposes. */
class FirstGraph extends TestGraph {
  #count = 0;

  turn(x: string, order: readonly number[]): string {
    const name = `turn${this.#count++}`;
    return this.op(name, 'Transpose', [x, this.integers(`${name}/order`, order)]);
  }

  inside(x: string, layer: (x: string) => string): string {
    return this.turn(layer(this.turn(x, [0, 2, 3, 1])), [0, 3, 1, 2]);
  }

  layer(
    name: string,
    x: string,
    channels: number,
    layer: (x: string) => string,
    activation?: string,
  ): string {
    const scaled = this.op(`${name}/scaled`, 'Mul', [
      this.inside(x, layer),
      this.weight(`${name}/gain`, [1, channels, 1, 1]),
    ]);
    const shifted = this.op(`${name}/shifted`, 'AddV2', [
      scaled,
      this.weight(`${name}/offset`, [1, channels, 1, 1]),
    ]);
    return activation ? this.op(`${name}/${activation}`, activation, [shifted]) : shifted;
  }

  cut(how: 'split' | 'slice' | 'gather', name: string, x: string, c: number): readonly string[] {
    const half = c / 2;
    if (how === 'split') {
      const split = this.op(`${name}/split`, 'Split', [this.integers(`${name}/axis`, [1], []), x], {
        num_split: 2,
      });
      return [split, `${split}:1`];
    }
    return [0, half].map((from) => {
      const list = (what: string, values: readonly number[]): string =>
        this.integers(`${name}/${what}${from}`, values);
      const limits = [list('begin', [0, from]), list('end', [0, from + half]), list('step', [1, 1])];
      if (how === 'slice')
        return this.op(`${name}/part${from}`, 'StridedSlice', [x, ...limits], {begin_mask: 1, end_mask: 1});
      const indices = list(
        'indices',
        Array.from({length: half}, (_, i) => from + i),
      );
      return this.op(`${name}/part${from}`, 'GatherV2', [
        x,
        indices,
        this.integers(`${name}/axis${from}`, [1], []),
      ]);
    });
  }

  mix(name: string, maps: readonly string[], {h, w, c}: typeof size): string {
    const join = this.op(`${name}/join`, 'ConcatV2', [...maps, this.integers(`${name}/end`, [1], [])], {
      N: 2,
    });
    const matrix = this.op(`${name}/matrix`, 'Reshape', [
      join,
      this.integers(`${name}/wide`, [-1, 2, c / 2, h, w]),
    ]);
    const turned = this.op(`${name}/turned`, 'Transpose', [
      matrix,
      this.integers(`${name}/order`, [0, 2, 1, 3, 4]),
    ]);
    return this.op(`${name}/flat`, 'Reshape', [turned, this.integers(`${name}/shape`, [-1, c, h, w])]);
  }

  branch(name: string, x: string, from: number, to: number, stride = 1): string {
    const first = this.layer(
      `${name}/a`,
      x,
      to,
      (y) => this.pointwise(`${name}/a/conv`, y, from, to),
      'Relu',
    );
    const dw = this.layer(`${name}/b`, first, to, (y) => this.depthwise(`${name}/b/conv`, y, to, {stride}));
    return this.layer(`${name}/c`, dw, to, (y) => this.pointwise(`${name}/c/conv`, y, to, to), 'Relu');
  }
}

onBackend('cpu', 'shuffle units', () => {
  for (const [how, cut] of Object.entries(CUTS))
    for (const [so, mix] of Object.entries(MIXES))
      it(`are blocks: ${how}, ${so}`, async () => {
        const g = start();
        const first = unit(g, 'u1', 'x', size, {cut, mix});
        const second = halving(g, 'u2', first, 8, half, mix);
        const third = unit(g, 'u3', second, half, {cut, mix});
        const {blocks, nodes, dispatches} = await expectSame(g.artifacts([third]), {feed});
        expect(blocks.map(({block}) => block)).toEqual(Array<string>(3).fill('BlockBottleneck'));
        expect(blocks.map(({at}) => at)).toEqual([first, second, third]);
        expect(nodes.after).toBe(3);
        expect(dispatches.before).toBeGreaterThan(2.5 * dispatches.after);
      });

  for (const how of ['split', 'slice', 'gather'] as const)
    it(`are blocks with channels first: ${how}`, async () => {
      const g = new FirstGraph();
      g.input('x', [-1, 8, 8, 8]);
      const x = g.turn('x', [0, 3, 1, 2]);
      const [passed = '', other = ''] = g.cut(how, 'u1', x, 8);
      const first = g.mix('u1', [passed, g.branch('u1', other, 4, 4)], size);
      const left = g.layer('u2/l', first, 8, (y) => g.depthwise('u2/l/dw', y, 8, {stride: 2}));
      const short = g.layer('u2/m', left, 8, (y) => g.pointwise('u2/m/conv', y, 8, 8), 'Relu');
      const second = g.mix('u2', [short, g.branch('u2', first, 8, 8, 2)], half);
      const last = g.layer('last', second, 12, (y) => g.pointwise('last/conv', y, 16, 12), 'Relu');
      const {blocks, nodes} = await expectSame(g.artifacts([g.turn(last, [0, 2, 3, 1])]), {feed});
      expect(blocks.map(({block}) => block)).toEqual(['BlockBottleneck', 'BlockBottleneck', 'BlockConv']);
      expect(nodes.after).toBe(3);
    });

  it('are blocks that take every second channel', async () => {
    const g = start();
    const limits = (i: number): string[] => [
      g.integers(`begin${i}`, [0, 0, 0, i]),
      g.integers(`end${i}`, [0, 0, 0, 0]),
      g.integers(`step${i}`, [1, 1, 1, 2]),
    ];
    const mask = {begin_mask: 7, end_mask: 15};
    const [passed, other] = [0, 1].map((i) => g.op(`part${i}`, 'StridedSlice', ['x', ...limits(i)], mask));
    const join = [passed ?? '', branch(g, 'b', other ?? '', [4, 4]), g.integers('axis', [3], [])];
    const {blocks} = await expectSame(g.artifacts([g.op('join', 'ConcatV2', join)]), {feed});
    expect(blocks.map(({block, at, stages}) => [block, at, stages.at(-1)])).toEqual([
      ['BlockBottleneck', 'join', 'residual (spread)'],
    ]);
  });

  it('take a pooled map and a convolution beside it, and the activation behind both', async () => {
    const g = start();
    const window = {ksize: [1, 2, 2, 1], strides: [1, 2, 2, 1], padding: 'SAME', data_format: 'NHWC'};
    const maps = [g.conv('conv', 'x', [3, 3, 8, 10], {stride: 2}), g.op('pool', 'MaxPool', ['x'], window)];
    const join = g.op('join', 'ConcatV2', [...maps, g.integers('axis', [3], [])]);
    const {blocks} = await expectSame(g.artifacts([g.op('relu', 'Relu', [join])]), {feed});
    expect(blocks.map(({block, at, stages}) => [block, at, stages.at(-1)])).toEqual([
      ['BlockConv', 'relu', 'residual (pool, spread) relu'],
    ]);
  });

  const {split} = CUTS;
  const {shuffle} = MIXES;
  if (!split || !shuffle) throw new Error('The spellings of a unit are gone.');
  const parts = (g: TestGraph): readonly [string, string] => split(g, 'u', 'x', size);

  const OTHERS: Readonly<Record<string, (g: TestGraph) => readonly string[]>> = {
    'a path that does not end in zeros': (g) => {
      const [passed, other] = parts(g);
      return [shuffle(g, 'u', [passed, branch(g, 'b', other, [4, 4], {activation: 'Sigmoid'})], size)];
    },
    'a path whose end is an output': (g) => {
      const [passed, other] = parts(g);
      const end = branch(g, 'b', other, [4, 4]);
      return [shuffle(g, 'u', [passed, end], size), end];
    },
    'a path whose middle is an output': (g) => {
      const [passed, other] = parts(g);
      return [shuffle(g, 'u', [passed, branch(g, 'b', other, [4, 4])], size), 'b/b/shifted'];
    },
    'halves of two maps': (g) => {
      const [, other] = parts(g);
      const tanh = g.op('tanh', 'Tanh', ['x']);
      return [shuffle(g, 'u', [split(g, 'v', tanh, size)[0], branch(g, 'b', other, [4, 4])], size)];
    },
    'a path too narrow for so many zeros': (g) => {
      const [passed, other] = parts(g);
      const maps = [passed, branch(g, 'b', other, [4, 2]), g.integers('axis', [3], [])];
      return [g.op('join', 'ConcatV2', maps)];
    },
    'the same half twice': (g) => {
      const [, other] = parts(g);
      const end = branch(g, 'b', other, [4, 4]);
      return [shuffle(g, 'u', [end, end], size)];
    },
  };
  for (const [name, build] of Object.entries(OTHERS))
    it(`are not seen in ${name}`, async () => {
      const g = start();
      const {blocks, depthwise} = await expectSame(g.artifacts(build(g)), {feed});
      expect(blocks.flatMap(({stages}) => stages).join()).not.toContain('spread');
      expect(depthwise.fused).toBe(1);
    });

  it('end in the join where that is an output', async () => {
    const g = start();
    const [passed, other] = parts(g);
    const mixed = shuffle(g, 'u', [passed, branch(g, 'b', other, [4, 4])], size);
    const {blocks} = await expectSame(g.artifacts([mixed, 'u/join']), {feed});
    expect(blocks.map(({at}) => at)).toEqual(['u/join']);
  });

  it('leave a half whole that others read', async () => {
    const g = start();
    const [passed, other] = parts(g);
    const mixed = shuffle(g, 'u', [passed, branch(g, 'b', other, [4, 4])], size);
    const {blocks} = await expectSame(g.artifacts([mixed, g.op('tanh', 'Tanh', [other])]), {feed});
    expect(blocks.map(({at}) => at)).toEqual([mixed]);
  });
});

/** ShuffleNet V1: `graph` spells the grouped convolutions as a split, a convolution a group and a concat, or as what TF.js refuses. */
function firstNet(g: TestGraph, isSplit: boolean): tf.io.ModelArtifacts {
  const groups = (name: string, x: string, from: number, to: number): string => {
    const filters = [0, 1].map((i) => {
      const values = Float32Array.from({length: (from * to) / 4}, (_, k) =>
        Math.sin(7 * k + i + name.length),
      );
      return values;
    });
    const window = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
    if (isSplit) {
      const [a, b] = (CUTS['split'] as Cut)(g, name, x, {...size, c: from});
      const parts = [a, b].map((part, i) => {
        const filter = g.constant(`${name}/filter${i}`, filters[i] ?? [], [1, 1, from / 2, to / 2]);
        return g.op(`${name}/conv${i}`, 'Conv2D', [part, filter], window);
      });
      return g.op(name, 'ConcatV2', [...parts, g.integers(`${name}/end`, [3], [])], {N: 2});
    }
    const width = to / 2;
    const both = Float32Array.from({length: (from * to) / 2}, (_, k) => {
      const [row, column] = [Math.floor(k / to), k % to];
      return filters[Math.floor(column / width)]?.[row * width + (column % width)] ?? 0;
    });
    return g.op(name, 'Conv2D', [x, g.constant(`${name}/filter`, both, [1, 1, from / 2, to])], window);
  };
  const unitOf = (name: string, x: string, stride: number): string => {
    const narrow = normal(g, `${name}/a`, groups(`${name}/reduce`, x, 8, 12), 12, 'Relu');
    const wide = [g.integers(`${name}/wide`, [-1, 8, 8, 2, 6]), g.integers(`${name}/shape`, [-1, 8, 8, 12])];
    const matrix = g.op(`${name}/matrix`, 'Reshape', [narrow, wide[0] ?? '']);
    const turned = g.op(`${name}/turned`, 'Transpose', [
      matrix,
      g.integers(`${name}/order`, [0, 1, 2, 4, 3]),
    ]);
    const mixed = g.op(`${name}/flat`, 'Reshape', [turned, wide[1] ?? '']);
    const map = normal(g, `${name}/b`, g.depthwise(`${name}/dw`, mixed, 12, {stride}), 12);
    const end = normal(g, `${name}/c`, groups(`${name}/expand`, map, 12, 8), 8);
    if (stride === 1) return g.op(`${name}/out`, 'Relu', [g.op(`${name}/sum`, 'AddV2', [x, end])]);
    const window = {ksize: [1, 3, 3, 1], strides: [1, 2, 2, 1], padding: 'SAME', data_format: 'NHWC'};
    const maps = [g.op(`${name}/pool`, 'AvgPool', [x], window), end, g.integers(`${name}/axis`, [3], [])];
    return g.op(`${name}/out`, 'Relu', [g.op(`${name}/join`, 'ConcatV2', maps, {N: 2})]);
  };
  return g.artifacts([unitOf('second', unitOf('first', 'x', 1), 2)]);
}

for (const backend of ['cpu', 'webgpu'] as const)
  onBackend(backend, 'units of groups', () => {
    for (const isSplit of [true, false])
      it(`are blocks: ${isSplit ? 'a convolution a group' : 'grouped convolutions'}`, async () => {
        const report = await expectSame(firstNet(start(), isSplit), {
          feed,
          scale: 1,
          oracle: firstNet(start(), true),
        });
        const [first, second] = report.blocks;
        expect([first?.block, second?.block, report.blocks.length]).toEqual([
          'BlockShuffle',
          'BlockShuffle',
          2,
        ]);
        expect([first?.at, second?.at]).toEqual(['first/out', 'second/c/shifted']);
      });
  });

onBackend('webgpu', 'shuffle units', () => {
  it('give the same values by the kernels', async () => {
    const {slice, split} = CUTS;
    const {shuffle} = MIXES;
    if (!slice || !split || !shuffle) throw new Error('The spellings of a unit are gone.');
    const g = start();
    const first = unit(g, 'u1', 'x', size, {cut: slice, mix: shuffle});
    const second = halving(g, 'u2', first, 8, {h: 4, w: 4, c: 20}, shuffle);
    await expectSame(g.artifacts([unit(g, 'u3', second, {h: 4, w: 4, c: 20}, {cut: split, mix: shuffle})]), {
      feed,
    });
  });
});
