/**
 * What a block costs by the definitions of Lavin, "On the Efficiency of Convolutional Neural Networks": a MAC is two
 * operations, and bytes are each input, weight and output moved once.
 */
import type {Block} from './block.js';
import {elements} from './shapes.js';
import {type TracedStage, traceBlock} from './trace.js';

const BYTES = 4; // float32

export interface Cost {
  readonly macs: number;
  /** Bytes to and from device memory when the block is one kernel. */
  readonly bytes: number;
  /** Bytes when each stage is a kernel of its own. */
  readonly bytesByStage: number;
  readonly weightBytes: number;
  /** Operations per byte, fused. */
  readonly intensity: number;
  readonly intensityByStage: number;
}

/** @param input `[N, H, W, C]`. @throws {BlockError} as traceBlock. */
export function costOf(block: Block, input: readonly number[]): Cost {
  const trace = traceBlock(block, input);
  const sum = (of: (stage: TracedStage) => number): number =>
    trace.stages.reduce((total, stage) => total + of(stage), 0);
  const weightElements = sum(weightsOf);
  const macs = sum(({macs: own}) => own);
  const bytes = BYTES * (elements(trace.input) + sum(mapsOf) + weightElements + elements(trace.output));
  const bytesByStage = BYTES * sum((stage) => stageElements(stage, elements(trace.input)));
  return {
    macs,
    bytes,
    bytesByStage,
    weightBytes: BYTES * weightElements,
    intensity: (2 * macs) / bytes,
    intensityByStage: (2 * macs) / bytesByStage,
  };
}

const weightsOf = ({weights}: TracedStage): number =>
  weights.reduce((total, {shape, isMap}) => total + (isMap ? 0 : elements(shape)), 0);

/** The maps that residuals are given are read beside the input. */
const mapsOf = ({weights}: TracedStage): number =>
  weights.reduce((total, {shape, isMap}) => total + (isMap ? elements(shape) : 0), 0);

/** Elements a stage reads and writes on its own; a join also reads what it joins. */
function stageElements(traced: TracedStage, blockInput: number): number {
  const {stage, input, output} = traced;
  const joined = stage.op === 'concat' ? blockInput : stage.op === 'residual' ? elements(output) : 0;
  return elements(input) + joined + weightsOf(traced) + elements(output);
}
