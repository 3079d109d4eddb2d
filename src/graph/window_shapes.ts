/** Shapes of what slides a window over a map: convolutions and pools, in either layout. */
import {numbersAttr, textAttr} from './attrs.js';
import {needRank, type OpContext, type Shape} from './infer.js';
import {ModelError} from './model_error.js';
import type {Outputs, ShapeRule} from './shape_rule.js';

const isNchw = (op: OpContext): boolean => textAttr(op.node.attrs, 'data_format', 'NHWC') === 'NCHW';

/** Positions of height, width and channels. */
const layout = (op: OpContext): readonly [number, number, number] => (isNchw(op) ? [2, 3, 1] : [1, 2, 3]);

function windowed(
  op: OpContext,
  kernel: readonly [number, number],
  channels: (input: Shape) => number,
): Outputs {
  const input = op.shape(0);
  needRank(op, 0, input, 4);
  const {attrs} = op.node;
  const [h, w, c] = layout(op);
  const strides = numbersAttr(attrs, 'strides');
  const dilations = numbersAttr(attrs, 'dilations');
  const padding = textAttr(attrs, 'padding', 'VALID');
  const explicit = numbersAttr(attrs, 'explicit_paddings');
  const known = input ?? [-1, -1, -1, -1];
  const out = [...known];
  [h, w].forEach((axis, i) => {
    const size = known[axis] ?? -1;
    const stride = strides[axis] ?? 1;
    const extent = ((kernel[i] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
    const added = padding === 'EXPLICIT' ? (explicit[2 * axis] ?? 0) + (explicit[2 * axis + 1] ?? 0) : 0;
    if (size >= 0)
      out[axis] =
        padding === 'SAME' ? Math.ceil(size / stride) : Math.floor((size + added - extent) / stride) + 1;
  });
  out[c] = channels(known);
  return [out];
}

export const conv: ShapeRule = (op) => {
  const filter = op.shape(1);
  needRank(op, 1, filter, 4);
  if (!filter) return [[-1, -1, -1, -1]];
  const [kh = 1, kw = 1, ci = 1, co = 1] = filter;
  return windowed(op, [kh, kw], (input) => {
    const given = input[layout(op)[2]] ?? -1;
    if (given >= 0 && given % ci !== 0) {
      throw new ModelError(
        `${op.node.op} '${op.node.name}' has a filter [${filter.join(', ')}] for ${ci} channels but its input has ${given}; the model is damaged.`,
      );
    }
    return co;
  });
};

export const depthwise: ShapeRule = (op) => {
  const filter = op.shape(1);
  needRank(op, 1, filter, 4);
  if (!filter) return [[-1, -1, -1, -1]];
  const [kh = 1, kw = 1, c = 1, multiplier = 1] = filter;
  return windowed(op, [kh, kw], (input) => {
    const given = input[layout(op)[2]] ?? -1;
    if (given >= 0 && given !== c) {
      throw new ModelError(
        `${op.node.op} '${op.node.name}' has a filter [${filter.join(', ')}] for ${c} channels but its input has ${given}; the model is damaged.`,
      );
    }
    return c * multiplier;
  });
};

export const pool: ShapeRule = (op) => {
  const [, ...rest] = numbersAttr(op.node.attrs, 'ksize');
  const [h, w, c] = layout(op);
  return windowed(op, [rest[h - 1] ?? 1, rest[w - 1] ?? 1], (input) => input[c] ?? -1);
};
