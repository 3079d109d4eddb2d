/** Heads of networks in random spellings: 1×1 convolution, mean over all pixels, LayerNorm, dense layers. */
import {ACTIVE, meanOf} from './pieces.js';
import {denseRows, layerNorm, pointwise} from './stages.js';
import type {MapValue, Speller} from './speller.js';

/** `[N, C]`. */
function meanRows(s: Speller, {name, h, w, c}: MapValue): string {
  const flat = (x: string): string =>
    s.chance(0.5) ? s.op('Reshape', [x, s.integers([-1, c])]) : s.op('Squeeze', [x], {squeeze_dims: [1, 2]});
  return s.pick<() => string>([
    () =>
      meanOf(
        s,
        name,
        false,
        s.pick([
          [1, 2],
          [2, 1],
          [-3, -2],
        ]),
      ),
    () => flat(meanOf(s, name, true)),
    () => {
      const window = {ksize: [1, h, w, 1], strides: [1, h, w, 1], padding: 'VALID', data_format: 'NHWC'};
      return flat(s.op('AvgPool', [name], window));
    },
    () => meanOf(s, meanOf(s, name, false, [1]), false, [1]),
    () => meanOf(s, s.op('Reshape', [name, s.integers([-1, h * w, c])]), false, [1]),
  ])();
}

export interface Head {
  readonly name: string;
  /** Further outputs of the model. */
  readonly outputs: readonly string[];
}

/** @param isRead Others read the mean, too. */
export function head(s: Speller, x: MapValue, isRead: boolean): Head {
  const map = s.chance(0.5) ? pointwise(s, x, x.c + s.between(1, 5), s.pick(ACTIVE)) : x;
  s.depth += map.h * map.w;
  let name = meanRows(s, map);
  const outputs = isRead ? [s.op('Tanh', [name])] : [];
  let width = map.c;
  if (s.chance(0.3)) ({name} = layerNorm(s, {...map, name}, -1));
  for (let layers = s.between(isRead ? 1 : 0, 3); layers > 0; layers--) {
    const to = s.between(1, 9);
    name = denseRows(s, name, [width, to], s.pick(['linear', 'relu', 'elu', 'sigmoid', 'hardsigmoid']));
    width = to;
  }
  if (s.chance(0.3)) name = s.op('Softmax', [name]);
  // The head, a softmax, and the view of a pool with nothing else to it; dense layers that several read are ops.
  s.others += 3 + outputs.length + (isRead ? 20 : 0);
  return {name, outputs};
}
