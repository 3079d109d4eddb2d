/**
 * Blocks in float64 by direct loops, written from the definitions and sharing no code with ops/ but the types: what the
 * reference by stock ops is tested against, and what finite differences are taken of.
 */
import type {
  BlurPoolStage,
  GateStage,
  GrnStage,
  LayerNormStage,
  Pad,
  Pair,
  PoolStage,
  Shape4D,
  Stage,
} from '../../ops/index.js';
import {activate} from './oracle_activation.js';

/** `[N, H, W, C]`, row-major. */
export interface OracleMap {
  readonly shape: Shape4D;
  readonly data: Float64Array;
}

export type OracleWeights = Readonly<Record<string, ArrayLike<number>>>;

/** Weights by the names of the TF.js kernel's inputs. */
export function oracleBlock(stages: readonly Stage[], x: OracleMap, weights: OracleWeights): OracleMap {
  return stages.reduce((map, stage) => oracleStage(stage, map, x, weights), x);
}

function oracleStage(stage: Stage, x: OracleMap, blockInput: OracleMap, weights: OracleWeights): OracleMap {
  const weight = (suffix: string): ArrayLike<number> => weights[stage.name + suffix] ?? [];
  switch (stage.op) {
    case 'spatial':
    case 'pointwise': {
      const conv =
        stage.op === 'spatial'
          ? convolve(x, weight('Filter'), stage)
          : convolve(x, weight('Filter'), {...ONE_BY_ONE, group: x.shape[3], channels: stage.channels});
      const biased = stage.bias ? perChannel(conv, (v, c) => v + at(weight('Bias'), c)) : conv;
      return perChannel(biased, (v, c) => activate(stage.activation, v, weight('Alpha')[c]));
    }
    case 'layernorm':
      return layerNorm(x, stage, weight);
    case 'grn':
      return grn(x, stage, weight);
    case 'gate':
      return gate(x, stage, weight);
    case 'scale':
      return perChannel(x, (v, c) => v * at(weight('Gain'), c));
    case 'blurpool':
      return blurPool(x, stage);
    case 'concat': {
      const [n, h, w, c] = x.shape;
      return fill([n, h, w, c + blockInput.shape[3]], (b, i, j, k) =>
        k < c ? read(x, b, i, j, k) : read(blockInput, b, i, j, k - c),
      );
    }
    case 'mean': {
      const [n, h, w, c] = x.shape;
      return fill([n, 1, 1, c], (b, _i, _j, k) => {
        let sum = 0;
        for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) sum += read(x, b, i, j, k);
        return sum / (h * w);
      });
    }
    case 'flatten':
      return x;
    case 'pool':
      return pool(x, stage);
    case 'padchannels':
      return fill([x.shape[0], x.shape[1], x.shape[2], stage.channels], (b, i, j, c) =>
        c < x.shape[3] ? read(x, b, i, j, c) : 0,
      );
    case 'shuffle':
      return fill(x.shape, (b, i, j, c) =>
        read(x, b, i, j, (c % stage.groups) * (x.shape[3] / stage.groups) + Math.floor(c / stage.groups)),
      );
    case 'spread':
      return fill([x.shape[0], x.shape[1], x.shape[2], stage.channels], (b, i, j, c) => {
        for (let k = 0; k < stage.count; k++)
          if (stage.at + k * stage.step === c) return read(x, b, i, j, stage.from + k * stage.every);
        return 0;
      });
    case 'residual': {
      const shortcut = stage.given
        ? {shape: x.shape, data: Float64Array.from(weight('Map'))}
        : oracleBlock(stage.shortcut, blockInput, weights);
      return fill(x.shape, (b, i, j, c) =>
        activate(stage.activation, read(x, b, i, j, c) + read(shortcut, b, i, j, c), weight('Alpha')[c]),
      );
    }
  }
}

type Weight = (suffix: string) => ArrayLike<number>;

const at = (values: ArrayLike<number>, index: number): number => {
  const value = values[index];
  if (value === undefined) throw new RangeError(`The oracle read index ${index} of ${values.length}.`);
  return value;
};

const read = ({shape: [, h, w, c], data}: OracleMap, b: number, i: number, j: number, k: number): number =>
  at(data, ((b * h + i) * w + j) * c + k);

function fill(shape: Shape4D, value: (b: number, i: number, j: number, c: number) => number): OracleMap {
  const [n, h, w, channels] = shape;
  const data = new Float64Array(n * h * w * channels);
  let next = 0;
  for (let b = 0; b < n; b++)
    for (let i = 0; i < h; i++)
      for (let j = 0; j < w; j++) for (let c = 0; c < channels; c++) data[next++] = value(b, i, j, c);
  return {shape, data};
}

const perChannel = ({shape, data}: OracleMap, f: (value: number, channel: number) => number): OracleMap => ({
  shape,
  data: data.map((value, i) => f(value, i % shape[3])),
});

interface Convolution {
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  readonly pad: Pad;
  readonly group: number;
  readonly channels: number;
}

const ONE_BY_ONE = {kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: 'valid'} as const;

/** Output size along an axis, and how far the first window lies before the map. */
function placeWindow(
  size: number,
  axis: 0 | 1,
  {kernel, stride, dilation, pad}: Omit<Convolution, 'group' | 'channels'>,
): {readonly out: number; readonly before: number} {
  const reach = (kernel[axis] - 1) * dilation[axis] + 1;
  const step = stride[axis];
  if (pad === 'same') {
    const out = Math.ceil(size / step);
    return {out, before: Math.floor(Math.max(0, (out - 1) * step + reach - size) / 2)};
  }
  const [before, after] = pad === 'valid' ? [0, 0] : axis === 0 ? [pad[0], pad[1]] : [pad[2], pad[3]];
  return {out: Math.floor((size + before + after - reach) / step) + 1, before};
}

function convolve(x: OracleMap, filter: ArrayLike<number>, conv: Convolution): OracleMap {
  const {kernel, stride, dilation, group, channels} = conv;
  const [n, h, w, c] = x.shape;
  const [rows, columns] = [placeWindow(h, 0, conv), placeWindow(w, 1, conv)];
  const perGroup = channels / (c / group);
  return fill([n, rows.out, columns.out, channels], (b, i, j, k) => {
    const first = Math.floor(k / perGroup) * group;
    let sum = 0;
    for (let ky = 0; ky < kernel[0]; ky++) {
      const y = i * stride[0] + ky * dilation[0] - rows.before;
      if (y < 0 || y >= h) continue;
      for (let kx = 0; kx < kernel[1]; kx++) {
        const z = j * stride[1] + kx * dilation[1] - columns.before;
        if (z < 0 || z >= w) continue;
        for (let g = 0; g < group; g++) {
          const tap = ((ky * kernel[1] + kx) * group + g) * channels + k;
          sum += read(x, b, y, z, first + g) * at(filter, tap);
        }
      }
    }
    return sum;
  });
}

function layerNorm(x: OracleMap, {epsilon, affine}: LayerNormStage, weight: Weight): OracleMap {
  const channels = x.shape[3];
  const out = x.data.slice();
  for (let pixel = 0; pixel < out.length; pixel += channels) {
    const values = x.data.subarray(pixel, pixel + channels);
    const mean = values.reduce((sum, v) => sum + v, 0) / channels;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / channels;
    for (let c = 0; c < channels; c++) {
      const normal = (at(values, c) - mean) / Math.sqrt(variance + epsilon);
      out[pixel + c] = affine ? normal * at(weight('Gain'), c) + at(weight('Offset'), c) : normal;
    }
  }
  return {shape: x.shape, data: out};
}

/** f over the pixels of each image and channel, `[N, C]`. */
function overPixels(x: OracleMap, f: (values: readonly number[]) => number): readonly (readonly number[])[] {
  const [n, h, w, c] = x.shape;
  return Array.from({length: n}, (_, b) =>
    Array.from({length: c}, (__, k) =>
      f(Array.from({length: h * w}, (___, p) => at(x.data, (b * h * w + p) * c + k))),
    ),
  );
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function grn(x: OracleMap, {epsilon}: GrnStage, weight: Weight): OracleMap {
  const norms = overPixels(x, (values) => Math.hypot(...values));
  return fill(x.shape, (b, i, j, c) => {
    const own = norms[b] ?? [];
    const relative = at(own, c) / (meanOf(own) + epsilon);
    const value = read(x, b, i, j, c);
    return value + at(weight('Gain'), c) * value * relative + at(weight('Offset'), c);
  });
}

function gate(x: OracleMap, stage: GateStage, weight: Weight): OracleMap {
  const channels = x.shape[3];
  const dense = (input: readonly number[], side: 'Reduce' | 'Expand', width: number): number[] =>
    Array.from({length: width}, (_, k) =>
      input.reduce(
        (sum, value, i) => sum + value * at(weight(`${side}Filter`), i * width + k),
        stage.bias ? at(weight(`${side}Bias`), k) : 0,
      ),
    );
  const gates = overPixels(x, meanOf).map((mean) => {
    const squeezed = dense(mean, 'Reduce', stage.channels);
    const active = squeezed.map((v, k) => activate(stage.activation, v, weight('Alpha')[k]));
    return dense(active, 'Expand', channels).map((v) => activate(stage.gate, v));
  });
  return fill(x.shape, (b, i, j, c) => read(x, b, i, j, c) * at(gates[b] ?? [], c));
}

function binomialRow(taps: number): number[] {
  let coefficient = 1;
  return Array.from({length: taps}, (_, i) => {
    if (i > 0) coefficient = (coefficient * (taps - i)) / i;
    return coefficient / 2 ** (taps - 1);
  });
}

function blurPool(x: OracleMap, {taps, stride, mode}: BlurPoolStage): OracleMap {
  const [n, h, w, c] = x.shape;
  const radius = (taps - 1) / 2;
  const row = binomialRow(taps);
  /** Mirrored about the edge pixel, which is not repeated. */
  const inside = (index: number, size: number): number | undefined => {
    if (index >= 0 && index < size) return index;
    return mode === 'zero' ? undefined : index < 0 ? -index : 2 * (size - 1) - index;
  };
  const out = (size: number): number => Math.floor((size - 1) / stride) + 1;
  return fill([n, out(h), out(w), c], (b, i, j, k) => {
    let sum = 0;
    for (let ky = 0; ky < taps; ky++)
      for (let kx = 0; kx < taps; kx++) {
        const y = inside(i * stride + ky - radius, h);
        const z = inside(j * stride + kx - radius, w);
        if (y !== undefined && z !== undefined) sum += at(row, ky) * at(row, kx) * read(x, b, y, z, k);
      }
    return sum;
  });
}

/** Pixels beyond the edge take no part: not in the maximum, and not in the average's count. */
function pool(x: OracleMap, {mode, kernel, stride, pad}: PoolStage): OracleMap {
  const [n, h, w, c] = x.shape;
  const place = {kernel, stride, dilation: [1, 1], pad} as const;
  const [rows, columns] = [placeWindow(h, 0, place), placeWindow(w, 1, place)];
  return fill([n, rows.out, columns.out, c], (b, i, j, k) => {
    const seen: number[] = [];
    for (let ky = 0; ky < kernel[0]; ky++)
      for (let kx = 0; kx < kernel[1]; kx++) {
        const [y, z] = [i * stride[0] + ky - rows.before, j * stride[1] + kx - columns.before];
        if (y >= 0 && y < h && z >= 0 && z < w) seen.push(read(x, b, y, z, k));
      }
    return mode === 'max' ? Math.max(...seen) : meanOf(seen);
  });
}
