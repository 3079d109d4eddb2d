/**
 * The builder behind every network whose table is rows of inverted residuals: MobileNet, MnasNet, EfficientNet. A family's
 * file holds its tables and says how squeeze-and-excite, activations and head are done.
 */
import type {ActivationLike} from '../../ops/index.js';
import {
  type Conventions,
  dense,
  gate,
  type Layer,
  LayerMaker,
  mean,
  residual,
  type Unit,
} from '../network.js';

/**
 * A row of a table. `mb` is expand, depth-wise, project; at expansion 1 without the first. `universal` is MobileNetV4's, with
 * another depth-wise convolution of kernel `start` in front and the middle one left out at `k` 0. `fused` is a full
 * convolution and a 1×1, at expansion 1 the convolution alone. `conv` never has a shortcut, `separable` neither.
 */
export interface Row {
  readonly block: 'mb' | 'fused' | 'universal' | 'conv' | 'separable';
  readonly k: number;
  readonly s: number;
  /** Expansion. */
  readonly t: number;
  /** Channels out. */
  readonly c: number;
  /** Repeats; the stride is the first one's. */
  readonly n: number;
  readonly se?: boolean;
  readonly act?: ActivationLike;
  readonly start?: number;
}

export interface Plan {
  readonly stem: number;
  /** A list a stage: stages are what feature maps and checkpoints are numbered by. */
  readonly stages: readonly (readonly Row[])[];
  readonly act: ActivationLike;
  readonly squeeze?: {
    readonly channels: (input: number, expanded: number) => number;
    readonly act: ActivationLike;
    readonly curve: ActivationLike;
  };
  /** Channels of hidden 1×1 behind the blocks: before the global mean, or behind it with a bias or with batch norm. */
  readonly head?: {readonly channels: number; readonly at: 'map' | 'vector'; readonly bias?: boolean};
  /** Expanded channels; t times the input unless given. */
  readonly expanded?: (input: number, t: number) => number;
}

/** @param classes 0 for features only: the network then ends with the global mean. */
export function invertedResidualNet(plan: Plan, conventions: Conventions, classes: number): readonly Unit[] {
  const make = new LayerMaker(conventions);
  const stem = make.conv('conv', 3, {kernel: 3, stride: 2, channels: plan.stem, activation: plan.act});
  const units: Unit[] = [{name: 'stem', form: 'stem', at: {}, layers: [stem]}];
  let channels = plan.stem;
  let index = 0;
  plan.stages.forEach((rows, s) => {
    let b = 0;
    for (const row of rows) {
      for (let repeat = 0; repeat < row.n; repeat++) {
        const own = {...row, s: repeat === 0 ? row.s : 1};
        units.push({
          name: `stages.${s}.${b}`,
          form: formOf(own),
          at: {s, b, i: index},
          layers: layersOf(make, plan, own, channels),
        });
        channels = own.c;
        b++;
        index++;
      }
    }
  });
  const head = headOf(make, plan, channels, classes);
  return [...units, {name: 'head', form: 'head', at: {s: plan.stages.length, i: index}, layers: head}];
}

/** Names as timm has them, `se` behind those with squeeze-and-excite. */
function formOf({block, t, se = false}: Row): string {
  if (block === 'mb') return (t === 1 ? 'ds' : 'ir') + (se ? 'se' : '');
  if (block === 'fused') return t === 1 ? 'cn' : 'er';
  return {universal: 'uir', conv: 'cn', separable: 'ds'}[block];
}

function layersOf(make: LayerMaker, plan: Plan, row: Row, from: number): readonly Layer[] {
  const {k: kernel, s: stride, c, act = plan.act} = row;
  const isSame = stride === 1 && from === c;
  const hidden = row.t === 1 ? from : (plan.expanded?.(from, row.t) ?? from * row.t);
  const add = isSame ? [residual()] : [];
  const window = {kernel, stride};
  switch (row.block) {
    case 'conv':
      return [make.conv('conv', from, {...window, channels: c, activation: act})];
    case 'separable':
      return [
        make.conv('spatial', from, {...window, group: 1, channels: from, activation: act}),
        make.conv('project', from, {channels: c, activation: act}),
      ];
    case 'fused':
      return [
        make.conv('expand', from, {...window, channels: row.t === 1 ? c : hidden, activation: act}),
        ...(row.t === 1 ? [] : [make.conv('project', hidden, {channels: c})]),
        ...add,
      ];
    default:
      return [...insideOf(make, plan, row, from, hidden), ...add];
  }
}

/** From expansion to projection. MobileNetV4 strides in the middle convolution, or in the first where there is no other. */
function insideOf(make: LayerMaker, plan: Plan, row: Row, from: number, hidden: number): readonly Layer[] {
  const {k, s, c, start = 0, act: activation = plan.act} = row;
  const {squeeze} = plan;
  const layers: Layer[] = [];
  if (start > 0)
    layers.push(make.conv('start', from, {kernel: start, stride: k > 0 ? 1 : s, group: 1, channels: from}));
  if (row.t !== 1) layers.push(make.conv('expand', from, {channels: hidden, activation}));
  if (k > 0)
    layers.push(make.conv('spatial', hidden, {kernel: k, stride: s, group: 1, channels: hidden, activation}));
  if (row.se && squeeze) layers.push(gate(squeeze.channels(from, hidden), squeeze.act, squeeze.curve));
  return [...layers, make.conv('project', hidden, {channels: c})];
}

function headOf(make: LayerMaker, {head, act}: Plan, from: number, classes: number): readonly Layer[] {
  const hidden = head
    ? make.conv('hidden', from, {channels: head.channels, activation: act, bias: head.bias ?? false})
    : undefined;
  const before = hidden && head?.at === 'map' ? [hidden] : [];
  const behind = hidden && head?.at === 'vector' ? [hidden] : [];
  const classifier = classes > 0 ? [dense('classifier', classes)] : [];
  return [...before, mean(), ...behind, ...classifier];
}
