/**
 * From a block's stages to dispatches. Each convolution is one dispatch that takes in what stands before it (LayerNorm, gate)
 * and finishes what stands behind it (bias, activation, layer scale, residual); a gate's sums and a LayerNorm's moments are
 * taken by the dispatch that made the map, where it can. Where the tiling finds it faster, a run of them is one dispatch, and the
 * layers of a gate are made by the dispatches before and behind it.
 */
import {type Block, type ResidualStage, type ShortcutStage, type Stage, traceBlock} from '../../ops/index.js';
import type {BufferName, Plan} from '../plan.js';
import {pointwise, spatial} from './lower_convolutions.js';
import {fusedRun} from './lower_fused.js';
import {dense, mean, vectorsAlone} from './lower_head.js';
import {blur, pool} from './lower_resampling.js';
import {gate, grn, meanInOne, momentsOf, normalize} from './lower_statistics.js';
import {type Ending, Lowering, type Rows} from './lowering.js';
import type {Tiling} from './tiling.js';

/** @throws {BlockError} as traceBlock. */
export function lowerBlock(block: Block, input: readonly number[], tiling: Tiling): Plan {
  const trace = traceBlock(block, input);
  const map = trace.stages.find(({stage}) => stage.op === 'residual' && stage.given)?.output;
  const lowering = new Lowering(trace.input, tiling, map);
  // A vector has the bytes of its 1×1 map.
  lowerStages(
    lowering,
    block.stages.filter(({op}) => op !== 'flatten'),
  );
  return {
    block,
    input: trace.input,
    output: trace.output,
    name: lowering.dispatches.map(({kernel}) => kernel.replace('.vector', '')).join(' | '),
    dispatches: lowering.dispatches,
    scratch: lowering.scratch,
    weights: lowering.packer.layout(),
  };
}

function lowerStages(lowering: Lowering, stages: readonly Stage[]): void {
  let rows = lowering.input;
  for (let at = 0; at < stages.length; at++) {
    const run = fusedRun(lowering, stages.slice(at), rows);
    if (run) at += run.length - 1;
    const stage = stages[at] as Stage;
    const rest = stages.slice(at + 1);
    const scale = rest[0]?.op === 'scale' ? rest[0] : undefined;
    const after = scale ? rest.slice(1) : rest;
    const residual = after[0]?.op === 'residual' ? after[0] : undefined;
    const last = after.length === (residual ? 1 : 0);
    const isConvolution = stage.op === 'pointwise' || stage.op === 'spatial';
    const shortcut = isConvolution && residual ? shortcutOf(lowering, residual) : undefined;
    const ending: Ending = {
      scale,
      residual: isConvolution ? residual : undefined,
      shortcut,
      next: rest[0],
      afterNext: rest[1],
    };
    const into = last && (isConvolution || after.length === 0) ? 'out' : undefined;
    rows = run ? run.lower(ending, into) : lowerStage(lowering, stage, rows, ending, into);
    if (isConvolution) at += (scale ? 1 : 0) + (residual ? 1 : 0);
  }
}

function lowerStage(
  lowering: Lowering,
  stage: Stage,
  rows: Rows,
  ending: Ending,
  into: BufferName | undefined,
): Rows {
  switch (stage.op) {
    case 'pointwise':
      if (rows.vectors) return dense(lowering, stage, rows, rows.vectors, into);
      return pointwise(lowering, stage, rows, ending, into);
    case 'spatial':
      return spatial(lowering, stage, rows, ending, into);
    case 'mean':
      return (
        (ending.next === undefined ? meanInOne(lowering, rows, into) : undefined) ??
        endVectors(lowering, mean(lowering, rows), ending, into)
      );
    case 'layernorm':
      if (rows.vectors)
        return endVectors(lowering, {...rows, vectors: {...rows.vectors, norm: stage}}, ending, into);
      // Only a matrix product normalises as it ends; anything else is given the normal map.
      return ending.next?.op === 'pointwise'
        ? {...rows, norm: {...momentsOf(lowering, rows), stage}}
        : normalize(lowering, stage, rows, into);
    case 'gate':
      return closeGate(lowering, {...rows, ...gate(lowering, stage, rows)}, into);
    case 'grn':
      return {...rows, scales: grn(lowering, stage, rows), rowOffset: `${stage.name}Offset`};
    case 'concat':
      return {
        ...rows,
        joined: true,
        shape: [rows.shape[0], rows.shape[1], rows.shape[2], rows.channels + lowering.input.channels],
      };
    case 'blurpool':
      return blur(lowering, stage, rows, into);
    case 'residual':
      return join(lowering, rows, stage, into);
    case 'pool':
      return pool(lowering, stage, rows, into);
    case 'shuffle':
      return {...rows, shuffle: stage.groups};
    case 'flatten':
    case 'scale':
    case 'padchannels':
    case 'spread':
      throw new Error(`A '${stage.op}' stage has no kernel in this place.`); // The specs allow none there.
  }
}

function shortcutOf(lowering: Lowering, residual: ResidualStage): Rows {
  const step = (rows: Rows, stage: ShortcutStage): Rows => {
    if (stage.op !== 'padchannels' && stage.op !== 'spread')
      return lowerStage(lowering, stage, rows, {}, undefined);
    const shape = [rows.shape[0], rows.shape[1], rows.shape[2], stage.channels] as const;
    return stage.op === 'spread' ? {...rows, shape, spread: stage} : {...rows, shape};
  };
  return residual.given ? lowering.map : residual.shortcut.reduce(step, lowering.input);
}

/** Mean and norm are the next dense layer's to do; where the block ends with them they are a dispatch. */
const endVectors = (lowering: Lowering, rows: Rows, {next}: Ending, into: BufferName | undefined): Rows =>
  rows.vectors && next === undefined ? vectorsAlone(lowering, rows, rows.vectors, into) : rows;

function closeGate(lowering: Lowering, rows: Rows, into: BufferName | undefined): Rows {
  return into === undefined ? rows : join(lowering, rows, undefined, into);
}

function join(
  lowering: Lowering,
  rows: Rows,
  residual: ResidualStage | undefined,
  into: BufferName | undefined,
): Rows {
  const ending: Ending = {residual, shortcut: residual && shortcutOf(lowering, residual)};
  const constants = {
    ...lowering.ending(
      {name: 'join', bias: false, channels: rows.channels, activation: {fn: 'linear'}},
      ending,
      {},
    ),
    HAS_SCALES: rows.scales !== undefined,
    PIXELS: rows.shape[1] * rows.shape[2],
  };
  return lowering.perPixel('join', rows, rows.shape, constants, into, ending.shortcut, {
    scales: rows.scales ?? 'unused',
  });
}
