/** Random blocks out of random stages, one of which may be damaged so that it is no block any more. */
import {choice, framed, loop} from './bodies.js';
import {branch, cut, groupedUnit, halving, mix, unit} from './paths.js';
import {ACTIVE, both, meanOf, sum} from './pieces.js';
import {gate, layerNorm, pointwise, spatial, type Spatial} from './stages.js';
import type {MapValue, Speller} from './speller.js';

/** What to spoil in a block. */
export type Damage =
  | 'output'
  | 'reader'
  | 'gate axis'
  | 'norm axis'
  | 'activation'
  | 'one channel'
  | 'fill'
  | 'broadcast'
  | 'own value'
  | 'shared filter'
  | 'half of another'
  | 'order'
  | 'path'
  | 'half';

export const DAMAGES: readonly Damage[] = [
  'output',
  'reader',
  'gate axis',
  'norm axis',
  'activation',
  'one channel',
  'fill',
  'broadcast',
  'own value',
  'shared filter',
  'half of another',
  'order',
  'path',
  'half',
];

export interface Made {
  readonly out: MapValue;
  /** Nodes that no block may swallow; as its last one, it may. */
  readonly untouchable: readonly string[];
  /** Further outputs of the model. */
  readonly outputs: readonly string[];
}

const active = (s: Speller): string => s.pick(ACTIVE);

const depthwise = (s: Speller, x: MapValue, more: Partial<Spatial> = {}): Spatial => {
  const stride = s.chance(0.25) ? 2 : 1;
  const dilation = stride === 1 && s.chance(0.2) ? 2 : 1;
  const kernel = s.pick([3, 3, 5]);
  return {kernel, stride, dilation, group: 1, channels: x.c, activation: active(s), ...more};
};

/** The block's input where its output is a map of that shape, else a shortcut with layers; undefined: no residual. */
function shortcut(s: Speller, x: MapValue, to: MapValue, layers: boolean): MapValue | undefined {
  const stride = Math.round(x.h / to.h);
  if (stride === 1 && x.h === to.h && x.w === to.w && x.c === to.c) return s.chance(0.7) ? x : undefined;
  if (!layers || s.chance(0.3)) return undefined;
  if (to.c > x.c && s.chance(0.5)) {
    const pooled =
      stride === 1
        ? x.name
        : s.op('MaxPool', [x.name], {
            ...{ksize: [1, 2, 2, 1], strides: [1, 2, 2, 1], padding: 'SAME', data_format: 'NHWC'},
          });
    const amounts = s.integers([0, 0, 0, 0, 0, 0, 0, to.c - x.c], [4, 2]);
    return {...to, name: s.op('Pad', [pooled, amounts])};
  }
  const of = {kernel: 1, stride, dilation: 1, group: x.c, channels: to.c, activation: 'linear'};
  return stride === 1 ? pointwise(s, x, to.c, 'linear') : spatial(s, x, of);
}

function closed(s: Speller, x: MapValue, main: MapValue, layers: boolean): MapValue {
  const other = shortcut(s, x, main, layers);
  if (!other) return main;
  const added = sum(s, main.name, other.name);
  return {...main, name: layers && s.chance(0.5) ? s.op('Relu', [added]) : added};
}

type Build = (s: Speller, x: MapValue) => MapValue;

const mbConv: Build = (s, x) => {
  const hidden = s.chance(0.8) ? pointwise(s, x, x.c * s.pick([2, 3]), active(s)) : x;
  const map = spatial(s, hidden, depthwise(s, hidden));
  const gated = s.chance(0.4) ? gate(s, map, s.pick(['relu', 'swish', 'relu6'])) : map;
  return closed(s, x, pointwise(s, gated, s.chance(0.6) ? x.c : x.c + 2, 'linear'), false);
};

const separable: Build = (s, x) => {
  const map = spatial(s, x, depthwise(s, x, {activation: s.pick(['linear', 'relu'])}));
  return closed(s, x, pointwise(s, map, s.chance(0.5) ? x.c : x.c + 4, 'linear'), true);
};

const convNext: Build = (s, x) => {
  const map = spatial(s, x, depthwise(s, x, {activation: 'linear', stride: 1}));
  const wide = pointwise(s, layerNorm(s, map), x.c * 2, s.pick(['gelu', 'gelutanh', 'swish']));
  return closed(s, x, pointwise(s, wide, x.c, 'linear'), false);
};

const bottleneck: Build = (s, x) => {
  const narrow = pointwise(s, x, 4, active(s));
  const group = s.pick([2, 4]);
  const map = spatial(s, narrow, depthwise(s, narrow, {group, kernel: 3}));
  return closed(s, x, pointwise(s, map, s.chance(0.6) ? x.c : x.c + 2, 'linear'), true);
};

const basic: Build = (s, x) => {
  const first = spatial(s, x, depthwise(s, x, {group: x.c, kernel: 3}));
  const of = {kernel: 3, stride: 1, dilation: 1, group: first.c, channels: first.c, activation: 'linear'};
  return closed(s, x, spatial(s, first, of), true);
};

const convFirst: Build = (s, x) => {
  const map = spatial(s, x, depthwise(s, x, {activation: 'linear', stride: 1, group: s.pick([1, 2])}));
  return closed(s, x, pointwise(s, pointwise(s, map, x.c * 2, active(s)), x.c, 'linear'), false);
};

const feedForward: Build = (s, x) => {
  const wide = pointwise(s, s.chance(0.3) ? layerNorm(s, x) : x, x.c * 2, active(s));
  return closed(s, x, pointwise(s, wide, s.chance(0.7) ? x.c : x.c + 2, 'linear'), false);
};

/** A sum with a map of other make, as in a feature pyramid. */
const lateral: Build = (s, x) => {
  const other = s.op('Sin', [x.name]);
  s.others++;
  const of = depthwise(s, x, {stride: 1});
  const main = s.chance(0.5)
    ? pointwise(s, spatial(s, x, of), x.c, 'linear')
    : pointwise(s, x, x.c, 'linear');
  const added = sum(s, main.name, other);
  return {...x, name: s.chance(0.5) ? s.op('Relu6', [added]) : added};
};

const excited: Build = (s, x) => {
  s.others++;
  return gate(s, {...x, name: s.op('Sin', [x.name])}, 'relu');
};

/** Gain and offset in front of zeros; behind Sin, since a constant times an activation is part of that. */
const normalised: Build = (s, x) => {
  s.others += 2;
  const scaled = both(s, 'Mul', s.op('Sin', [x.name]), s.vector(s.pick([[], [x.c]]), 1, 0.5));
  const shifted = s.op('Sub', [scaled, s.vector(s.pick([[], [x.c]]), 0, 0.5)]);
  const of = {kernel: 3, stride: 1, dilation: 1, group: x.c, channels: x.c, activation: active(s)};
  return spatial(s, {...x, name: shifted}, of);
};

/** An activation behind the pool, where it may be in front or not. */
const pooled: Build = (s, x) => {
  const map = pointwise(s, x, x.c, 'linear');
  const window = {ksize: [1, 2, 2, 1], strides: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
  const small = s.op(s.pick(['MaxPool', 'AvgPool']), [map.name], window);
  s.others += 5; // Behind an average, or where the activation may not be in front, all of it stays.
  return {...map, name: s.op(s.pick(['Relu', 'Relu6', 'Elu', 'Sigmoid', 'Tanh']), [small])};
};

export const KINDS: readonly Build[] = [
  ...[mbConv, mbConv, separable, convNext, bottleneck, basic, convFirst],
  ...[
    feedForward,
    lateral,
    excited,
    normalised,
    pooled,
    unit,
    unit,
    halving,
    groupedUnit,
    loop,
    choice,
    framed,
  ],
];

export const whole = (s: Speller, x: MapValue): Made => ({
  out: s.pick(KINDS)(s, x),
  untouchable: [],
  outputs: [],
});

/** A unit of two paths with something else where one goes. */
const damagedPaths = {
  'half of another': (s: Speller, x: MapValue): Made => {
    const other = s.op('Sin', [x.name]);
    const out = unit(s, x, {passed: () => s.pick(cut(s, {...x, name: other}))});
    return {out, untouchable: [other], outputs: []};
  },
  order: (s: Speller, x: MapValue): Made => {
    const order = Array.from({length: x.c}, (_, i) => i).sort(() => s.random() - 0.5);
    return {out: unit(s, x, {order}), untouchable: [], outputs: []};
  },
  path: (s: Speller, x: MapValue): Made => {
    const [passed, other] = cut(s, x);
    const end = branch(s, {...x, name: other, c: x.c / 2}, x.c / 2).name;
    const out = {...x, name: mix(s, [passed, end], x)};
    return {out, untouchable: [end], outputs: [s.chance(0.5) ? end : s.op('Tanh', [end])]};
  },
  half: (s: Speller, x: MapValue): Made => {
    const [passed, other] = cut(s, x);
    const end = branch(s, {...x, name: other, c: x.c / 2}, x.c / 2).name;
    const read = s.pick([passed, other]);
    return {out: {...x, name: mix(s, [passed, end], x)}, untouchable: [], outputs: [s.op('Tanh', [read])]};
  },
};

/** Expand, depth-wise and project with one thing wrong in between. */
export const damaged: Readonly<Record<Damage, (s: Speller, x: MapValue) => Made>> = {
  output: (s, x) => {
    const hidden = pointwise(s, x, x.c * 2, active(s));
    return between(s, hidden, [hidden.name]);
  },
  reader: (s, x) => {
    const hidden = pointwise(s, x, x.c * 2, active(s));
    return {...between(s, hidden, []), untouchable: [hidden.name], outputs: [s.op('Tanh', [hidden.name])]};
  },
  'gate axis': (s, x) => {
    const map = spatial(s, x, depthwise(s, x, {stride: 1}));
    const gated = gate(s, map, 'relu', [1]);
    return {out: pointwise(s, gated, x.c, 'linear'), untouchable: [gated.name], outputs: []};
  },
  'norm axis': (s, x) => {
    const map = spatial(s, x, depthwise(s, x, {activation: 'linear', stride: 1}));
    const normal = layerNorm(s, map, 2);
    const wide = pointwise(s, normal, x.c * 2, 'gelu');
    return {out: pointwise(s, wide, x.c, 'linear'), untouchable: [map.name], outputs: []};
  },
  activation: (s, x) => {
    const hidden = pointwise(s, x, x.c * 2, 'linear');
    const odd = s.op(s.pick(['Softplus', 'Tanh', 'Sin']), [hidden.name]);
    return {...between(s, {...hidden, name: odd}, []), untouchable: [odd]};
  },
  'one channel': (s, x) => {
    // A map of one channel is added to all, which is no residual.
    const main = pointwise(s, spatial(s, x, depthwise(s, x, {stride: 1})), 1, 'linear');
    const added = s.op('AddV2', [main.name, x.name]);
    return {out: {...x, name: added}, untouchable: [added], outputs: []};
  },
  fill: (s, x) => {
    const amounts = s.integers([0, 0, 1, 1, 1, 1, 0, 0], [4, 2]);
    const wide = s.op('PadV2', [x.name, amounts, s.scalar(1)]);
    const made = between(s, {...x, name: wide, h: x.h + 2, w: x.w + 2}, []);
    return {...made, untouchable: [wide]};
  },
  'shared filter': sharedFilter,
  broadcast: (s, x) => {
    // A vector is added to the map, which is no residual.
    const vector = meanOf(s, s.op('Tanh', [x.name]), true);
    const main = pointwise(s, spatial(s, x, depthwise(s, x, {stride: 1})), x.c, 'linear');
    const added = sum(s, main.name, vector, ['Add', 'AddV2']);
    return {out: {...x, name: added}, untouchable: [added, vector], outputs: []};
  },
  ...damagedPaths,
  'own value': (s, x) => {
    // The sum is with a value between two layers of the main path.
    const hidden = pointwise(s, x, x.c * 2, active(s));
    const map = spatial(s, hidden, depthwise(s, hidden, {stride: 1}));
    const added = sum(s, pointwise(s, map, hidden.c, 'linear').name, hidden.name);
    return {
      out: pointwise(s, {...hidden, name: added}, x.c, 'linear'),
      untouchable: [hidden.name],
      outputs: [],
    };
  },
};

/** Two convolutions of one filter: a batch norm behind the first must not reach the second. */
function sharedFilter(s: Speller, x: MapValue): Made {
  const filter = s.filter([1, 1, x.c, x.c], x.c);
  const attrs = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
  const conv = (from: MapValue): MapValue => ({...from, name: s.op('Conv2D', [from.name, filter], attrs)});
  const first = conv(x);
  const scaled = s.op('Mul', [first.name, s.vector([x.c], 1, 0.5)]);
  const map = spatial(s, {...first, name: s.op('Relu', [scaled])}, depthwise(s, x));
  return {out: conv(map), untouchable: [], outputs: []};
}

function between(s: Speller, hidden: MapValue, outputs: readonly string[], stride = s.pick([1, 2])): Made {
  const map = spatial(s, hidden, depthwise(s, hidden, {stride, dilation: 1}));
  return {out: pointwise(s, map, 6, 'linear'), untouchable: outputs, outputs};
}
