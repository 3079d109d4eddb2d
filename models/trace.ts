/** Walks a network at a concrete input shape: shapes, tensors of the checkpoint, parameters and MACs come from here. */
import {type Shape4D, type Stage} from '../ops/index.js';
import {definitionOf, type SimpleStage} from '../ops/stages/index.js';
import type {Layer, Network, NetworkStage, Unit, ZeroPadStage} from './network.js';

/** A weight as the graph has it, batch norm folded. */
export interface GraphWeight {
  /** `Filter`, `Bias`, `Gain`, … */
  readonly suffix: string;
  readonly shape: readonly number[];
}

export interface TracedLayer {
  readonly unit: Unit;
  readonly layer: Layer;
  readonly inShortcut: boolean;
  readonly input: Shape4D;
  readonly output: Shape4D;
  readonly weights: readonly GraphWeight[];
  readonly macs: number;
}

export interface TracedUnit {
  readonly unit: Unit;
  readonly input: Shape4D;
  readonly output: Shape4D;
  readonly layers: readonly TracedLayer[];
}

/** @param input `[N, H, W, C]`. @throws {BlockError} where a map is too small for a layer. */
export function traceNetwork({units}: Network, input: Shape4D): readonly TracedUnit[] {
  let current = input;
  return units.map((unit) => {
    const traced = traceUnit(unit, current);
    current = traced.output;
    return traced;
  });
}

export function traceUnit(unit: Unit, input: Shape4D): TracedUnit {
  const layers: TracedLayer[] = [];
  let current = input;
  const step = (layer: Layer, from: Shape4D, inShortcut: boolean): Shape4D => {
    const traced = traceLayer(unit, layer, from, input, inShortcut);
    layers.push(traced);
    return traced.output;
  };
  for (const layer of unit.layers) {
    let shortcut = input;
    for (const own of layer.shortcut ?? []) shortcut = step(own, shortcut, true);
    if (layer.stage.op === 'residual' && shortcut.join() !== current.join()) {
      throw new Error(`${unit.name}: [${current.join(', ')}] cannot be added to [${shortcut.join(', ')}].`);
    }
    current = step(layer, current, false);
  }
  return {unit, input, output: current, layers};
}

function traceLayer(
  unit: Unit,
  layer: Layer,
  input: Shape4D,
  unitInput: Shape4D,
  inShortcut: boolean,
): TracedLayer {
  const {stage} = layer;
  const plain = {unit, layer, inShortcut, input, output: input, weights: [], macs: 0};
  if (isSimple(stage)) {
    const definition = definitionOf(stage);
    const output = definition.outShape(stage, input, unitInput, `${unit.name}.${stage.name}`);
    const weights = Object.entries(definition.weights(stage, input)).map(([suffix, shape]) => ({
      suffix,
      shape,
    }));
    return {...plain, output, weights, macs: definition.macs(stage, input, output)};
  }
  return stage.op === 'zeropad' ? {...plain, output: padded(stage, input)} : plain;
}

const isSimple = (stage: NetworkStage): stage is SimpleStage =>
  stage.op !== 'residual' && stage.op !== 'zeropad';

/** The stages that `ops` knows too. */
export const isStage = (stage: NetworkStage): stage is Stage => stage.op === 'residual' || isSimple(stage);

const padded = ({pad: [top, bottom, left, right]}: ZeroPadStage, [n, h, w, c]: Shape4D): Shape4D => [
  n,
  h + top + bottom,
  w + left + right,
  c,
];
