/** What an architecture amounts to: parameters, MACs, and the blocks that the plugin can fuse. */
import {BLOCK_SPECS, fitSpec, type Shape4D, type Stage} from '../ops/index.js';
import {type Architecture, makeNetwork, type Source} from './architectures.js';
import type {Network} from './network.js';
import {countParameters, tensorsOf} from './tensors.js';
import {isStage, type TracedUnit, traceNetwork} from './trace.js';

export interface Description {
  readonly name: string;
  readonly family: string;
  /** Height and width of the input. */
  readonly size: number;
  /** Learnt ones, as timm and Keras count them. */
  readonly parameters: number;
  /** Multiply-accumulates of convolutions and dense layers for one image. */
  readonly macs: number;
  /** Number of residual blocks, and down-sampling layers like them, by kind; `other` for those that fuse only in parts. */
  readonly blocks: Readonly<Record<string, number>>;
  readonly sources: readonly string[];
}

export function describe(
  architecture: Architecture,
  from: Source | undefined = architecture.sources[0],
): Description {
  const network = makeNetwork(architecture, {from});
  const {name, family, size, sources} = architecture;
  const blocks: Record<string, number> = {};
  for (const {kind} of blocksOf(network)) blocks[kind] = (blocks[kind] ?? 0) + 1;
  return {
    name,
    family,
    size,
    parameters: countParameters(tensorsOf(network)),
    macs: countMacs(network, [size, size]),
    blocks,
    sources: sources.map((known) => known.name),
  };
}

export const countMacs = (network: Network, [height, width]: readonly [number, number]): number =>
  traceNetwork(network, [1, height, width, 3]).reduce(
    (total, {layers}) => layers.reduce((sum, {macs}) => sum + macs, total),
    0,
  );

/** A residual block, or a down-sampling layer of the same make. */
export interface NetworkBlock {
  /** Of the unit, and of the graph node that gives its value. */
  readonly name: string;
  /** Of the spec it fits as a whole; `other` where it fits none and only parts of it can be fused. */
  readonly kind: string;
}

export function blocksOf(network: Network): readonly NetworkBlock[] {
  const input: Shape4D = [1, network.size, network.size, 3];
  return traceNetwork(network, input).flatMap((traced) => {
    const kind = blockKind(traced);
    return kind === undefined ? [] : [{name: traced.unit.name, kind}];
  });
}

function blockKind({unit, layers}: TracedUnit): string | undefined {
  const stages: Stage[] = unit.layers.map(({stage}) => stage).filter(isStage);
  // A lone convolution, with a norm in front or without, and what stands before the first block and behind the last, are none.
  if (stages.filter(({op}) => op !== 'layernorm').length < 2 || unit.form === 'stem' || unit.form === 'head')
    return undefined;
  const into = new Map(layers.map(({layer, input}) => [layer.stage, input[3]]));
  const spec = BLOCK_SPECS.find(
    (known) => 'slots' in fitSpec(known, stages, (stage) => into.get(stage) ?? 0),
  );
  return spec?.kind ?? (unit.at['b'] === undefined ? undefined : 'other');
}
