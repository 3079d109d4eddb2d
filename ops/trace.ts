/**
 * Walks a block at a concrete input shape. One walk yields, stage by stage, the shapes, the weights by name and the MACs;
 * everything else about a block is read off it.
 */
import {type Block, BlockError, type ResidualStage, type Shape4D, type Stage} from './block.js';
import {keptIn} from './kept.js';
import {checkStages} from './stages/check.js';
import {definitionOf, type SimpleStage} from './stages/index.js';

export interface WeightInfo {
  /** Input name of the TF.js kernel, e.g. `expandFilter`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** No weight but the map that a residual is given, which comes from the graph like x. */
  readonly isMap?: true;
}

export interface TracedStage {
  readonly stage: Stage;
  /** Part of a residual's shortcut, so it reads the block's input (or the shortcut so far), not the main path. */
  readonly inShortcut: boolean;
  readonly input: Shape4D;
  readonly output: Shape4D;
  readonly weights: readonly WeightInfo[];
  readonly macs: number;
}

export interface Trace {
  readonly stages: readonly TracedStage[];
  readonly input: Shape4D;
  /** `[N, H, W, C]`, or `[N, C]` behind a flatten stage. */
  readonly output: readonly number[];
  /** All weights, and the map of a residual that is given one, in the order in which a graph node lists them behind `x`. */
  readonly weights: readonly WeightInfo[];
}

export const weightName = (stage: Stage, suffix: string): string => stage.name + suffix;

/** By stage list (decodeStages shares them) and input shape: a block is walked many times at few shapes. */
const traces = new WeakMap<readonly Stage[], Map<string, Trace>>();

/** @throws {BlockError} naming block, stage and both values where a stage cannot take its input. */
export function traceBlock(block: Block, input: readonly number[]): Trace {
  if (!Array.isArray(block.stages))
    throw new BlockError(
      `${block.kind}: stages is ${typeof block.stages} but must be a list; pass {kind, stages}.`,
    );
  const known = keptIn(traces, block.stages, () => new Map<string, Trace>());
  return keptIn(known, input.join(), () => walk(block, input));
}

function walk(block: Block, input: readonly number[]): Trace {
  const shape = checkInput(block, input);
  checkStages(block.kind, block.stages);
  const stages: TracedStage[] = [];
  let current = shape;
  for (const stage of block.stages) {
    current =
      stage.op === 'residual'
        ? traceResidual(block, stage, current, shape, stages)
        : traceSimple(block, stage, current, shape, stages, false);
  }
  const weights = stages.flatMap((traced) => traced.weights);
  checkNames(block, weights);
  const isVector = block.stages.at(-1)?.op === 'flatten';
  return {stages, input: shape, output: isVector ? [current[0], current[3]] : current, weights};
}

/** Two stages of one name would read each other's weights. */
function checkNames({kind}: Block, weights: readonly WeightInfo[]): void {
  const names = weights.map(({name}) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice)
    throw new BlockError(
      `${kind}: two stages have a weight '${twice}'; give each stage, also in a shortcut, a name of its own.`,
    );
}

function checkInput({kind}: Block, input: readonly number[]): Shape4D {
  const [n, h, w, c] = input;
  if (input.length !== 4 || n === undefined || h === undefined || w === undefined || c === undefined) {
    throw new BlockError(
      `${kind}: the input is of rank ${input.length} ([${input.join(', ')}]) but must be [N, H, W, C]; add a batch axis with expandDims.`,
    );
  }
  if (!input.every((size) => Number.isInteger(size) && size > 0)) {
    throw new BlockError(
      `${kind}: the input's shape [${input.join(', ')}] has an axis that is no positive integer; give concrete sizes.`,
    );
  }
  return [n, h, w, c];
}

function traceSimple(
  block: Block,
  stage: SimpleStage,
  input: Shape4D,
  blockInput: Shape4D,
  into: TracedStage[],
  inShortcut: boolean,
): Shape4D {
  const at = `${block.kind}.${stage.name}`;
  const definition = definitionOf(stage);
  const output = definition.outShape(stage, input, blockInput, at);
  const shapes = Object.entries(definition.weights(stage, input));
  const weights = shapes.map(([suffix, shape]) => ({name: weightName(stage, suffix), shape}));
  into.push({stage, inShortcut, input, output, weights, macs: definition.macs(stage, input, output)});
  return output;
}

function traceResidual(
  block: Block,
  stage: ResidualStage,
  input: Shape4D,
  blockInput: Shape4D,
  into: TracedStage[],
): Shape4D {
  let shortcut = stage.given ? input : blockInput;
  for (const step of stage.shortcut) shortcut = traceSimple(block, step, shortcut, blockInput, into, true);
  if (shortcut.join() !== input.join()) {
    throw new BlockError(
      `${block.kind}.${stage.name}: the main path gives [${input.join(', ')}] but the shortcut [${shortcut.join(', ')}]; ` +
        'drop the residual, or give the shortcut a projection.',
    );
  }
  const map = stage.given ? [{name: weightName(stage, 'Map'), shape: input, isMap: true} as const] : [];
  const alpha =
    stage.activation.fn === 'prelu' ? [{name: weightName(stage, 'Alpha'), shape: [input[3]]}] : [];
  into.push({stage, inShortcut: false, input, output: input, weights: [...map, ...alpha], macs: 0});
  return input;
}
