/** The tensors a checkpoint holds for a layer, and the graph's weights from them: batch norm is folded here. */
import type {BatchNorm, Network} from './network.js';
import {type TracedLayer, traceNetwork} from './trace.js';

/** What a tensor is, which decides where a checkpoint has it and in which layout. */
export type Role =
  'filter' | 'bias' | 'gain' | 'offset' | 'mean' | 'variance' | 'normGain' | 'normOffset' | 'alpha';

/** How a filter's axes are laid out in our shape. */
export type Layout = 'conv' | 'dense' | 'vector';

export interface CheckpointTensor {
  /** `stages.1.0/expand/filter`; a gate has `gateReduce` and `gateExpand` for a layer. */
  readonly name: string;
  readonly layer: string;
  readonly role: Role;
  readonly layout: Layout;
  /** In our layout: `[kh, kw, group, channels]`, `[in, out]` or `[channels]`. */
  readonly shape: readonly number[];
  /** Learnt, so it counts as a parameter; running statistics do not. */
  readonly learnt: boolean;
}

const CHANNELS_IN = 3;

/** Every tensor of a network, in the order of its layers. Their shapes do not depend on the input's size. */
export function tensorsOf(network: Network): readonly CheckpointTensor[] {
  return traceNetwork(network, [1, network.size, network.size, CHANNELS_IN]).flatMap(({layers}) =>
    layers.flatMap(layerTensors),
  );
}

export const countParameters = (tensors: readonly CheckpointTensor[]): number =>
  tensors.filter(({learnt}) => learnt).reduce((sum, {shape}) => sum + shape.reduce((a, b) => a * b, 1), 0);

export const tensorName = ({unit}: TracedLayer, layer: string, role: Role): string =>
  `${unit.name}/${layer}/${role}`;

export function layerTensors(traced: TracedLayer): readonly CheckpointTensor[] {
  const {stage, norm} = traced.layer;
  const own = traced.weights.flatMap(({suffix, shape}): readonly CheckpointTensor[] => {
    const {layer, role} = placeOf(stage.op, stage.name, suffix);
    if (role === 'bias' && norm && !norm.convBias) return [];
    const layout = role !== 'filter' ? 'vector' : shape.length === 4 ? 'conv' : 'dense';
    return [{name: tensorName(traced, layer, role), layer, role, layout, shape, learnt: true}];
  });
  return norm ? [...own, ...normTensors(traced)] : own;
}

function normTensors(traced: TracedLayer): readonly CheckpointTensor[] {
  const layer = traced.layer.stage.name;
  return NORM_ROLES.map((role) => ({
    name: tensorName(traced, layer, role),
    layer,
    role,
    layout: 'vector',
    shape: [traced.output[3]],
    learnt: role === 'normGain' || role === 'normOffset',
  }));
}

const NORM_ROLES = ['normGain', 'normOffset', 'mean', 'variance'] as const;

const ROLES: Readonly<Record<string, Role>> = {
  Filter: 'filter',
  Bias: 'bias',
  Gain: 'gain',
  Offset: 'offset',
  Alpha: 'alpha',
};

/** A gate is two layers in every checkpoint. */
function placeOf(op: string, name: string, suffix: string): {layer: string; role: Role} {
  const side = op === 'gate' ? /^(Reduce|Expand)(.*)$/.exec(suffix) : null;
  const role = ROLES[side?.[2] ?? suffix];
  if (!role) throw new Error(`A ${op} stage has a weight '${suffix}', which no checkpoint is known to hold.`);
  return {layer: side ? name + String(side[1]) : name, role};
}

/** Gives the values of a checkpoint's tensor, in our layout. */
export type TensorSource = (tensor: CheckpointTensor) => Promise<Float32Array> | Float32Array;

/** A layer's weights as the graph has them, by suffix. */
export async function graphWeights(
  traced: TracedLayer,
  source: TensorSource,
): Promise<ReadonlyMap<string, Float32Array>> {
  const {stage, norm} = traced.layer;
  const values = new Map<string, Float32Array>();
  for (const tensor of layerTensors(traced))
    values.set(`${tensor.layer}/${tensor.role}`, await source(tensor));
  const folded = norm ? foldNorm(stage.name, norm, values) : values;
  return new Map(
    traced.weights.map(({suffix}) => {
      const {layer, role} = placeOf(stage.op, stage.name, suffix);
      return [suffix, need(folded, `${layer}/${role}`)];
    }),
  );
}

/** A layer's tensors as the checkpoint has them: by the suffix of the graph's weight, and batch norm's by their role. */
export async function checkpointValues(
  traced: TracedLayer,
  source: TensorSource,
): Promise<ReadonlyMap<string, Float32Array>> {
  const {stage} = traced.layer;
  const suffixes = new Map(
    traced.weights.map(({suffix}) => {
      const {layer, role} = placeOf(stage.op, stage.name, suffix);
      return [`${layer}/${role}`, suffix];
    }),
  );
  const values = new Map<string, Float32Array>();
  for (const tensor of layerTensors(traced)) {
    values.set(suffixes.get(`${tensor.layer}/${tensor.role}`) ?? tensor.role, await source(tensor));
  }
  return values;
}

function need(values: ReadonlyMap<string, Float32Array>, key: string): Float32Array {
  const found = values.get(key);
  if (!found) throw new Error(`The tensor '${key}' was not read.`);
  return found;
}

/** gain · (conv(x) + bias − mean) / √(variance + ε) + offset, as a filter and a bias; the last axis is the channels. */
function foldNorm(
  layer: string,
  {epsilon}: BatchNorm,
  values: ReadonlyMap<string, Float32Array>,
): ReadonlyMap<string, Float32Array> {
  const [filter, gain, offset, mean, variance] = (['filter', ...NORM_ROLES] as const).map((role) =>
    need(values, `${layer}/${role}`),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
  const bias = values.get(`${layer}/bias`);
  const scale = Float64Array.from(gain, (value, c) => value / Math.sqrt((variance[c] as number) + epsilon));
  const channels = scale.length;
  return new Map([
    [`${layer}/filter`, filter.map((value, i) => value * (scale[i % channels] as number))],
    [
      `${layer}/bias`,
      Float32Array.from(
        offset,
        (value, c) => value + ((bias?.[c] ?? 0) - (mean[c] as number)) * (scale[c] as number),
      ),
    ],
  ]);
}
