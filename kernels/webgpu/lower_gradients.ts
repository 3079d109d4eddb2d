/**
 * From the gradient of a convolution by its filter and bias to dispatches: one, or two where pixels are shared among workgroups. The tiles
 * are chosen by counting work; none has been tuned.
 */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {elements, resolvePad} from '../../ops/shapes.js';
import {type Constants, type Dispatch, divideUp, roundUp} from '../plan.js';
import {FLOAT_BYTES, gridOf} from './lowering.js';
import {mapConstants, windowConstants} from './lower_resampling.js';
import type {GradientKernel} from './wgsl/index.js';

export interface FilterGradientProblem {
  /** With `bias`, the bias's gradient is made, too. */
  readonly stage: SpatialStage;
  readonly input: Shape4D;
  /** Of dy. */
  readonly output: Shape4D;
}

export interface LoweredGradient {
  readonly dispatches: readonly Dispatch[];
  /** Elements of `scratch:sums`, the parts' sums; 0 where there is one part. */
  readonly sums: number;
}

/** Workgroups that fill a GPU of 132 processors: four each. */
const ENOUGH_WORKGROUPS = 528;
const WORKGROUP = 256;

export function lowerFilterGradient(problem: FilterGradientProblem): LoweredGradient {
  const {stage, input, output} = problem;
  const filterSize = stage.kernel[0] * stage.kernel[1] * stage.group * stage.channels;
  const size = filterSize + (stage.bias ? stage.channels : 0);
  const isDepthwise = stage.group === 1 && input[3] > 1;
  const sums = isDepthwise ? depthwiseSums(problem) : groupedSums(problem);
  const {parts} = sums;
  const macs = elements(output) * stage.kernel[0] * stage.kernel[1] * stage.group;
  const buffers = {sums: parts > 1 ? 'scratch:sums' : 'unused', out: 'out', bias: stage.bias ? 'bias' : 'unused'} as const; // prettier-ignore
  const dispatch: Dispatch = {
    kernel: sums.kernel,
    constants: {...commonConstants(problem), ...sums.constants, PARTS: parts},
    buffers: {...buffers, x: 'x', dy: 'dy'},
    workgroups: sums.workgroups,
    cost: {macs, bytes: FLOAT_BYTES * (elements(input) + elements(output) + parts * size)},
  };
  if (parts === 1) return {dispatches: [dispatch], sums: 0};
  const merge: Dispatch = {
    kernel: 'mergeGradient',
    constants: {SIZE: size, FILTER_SIZE: filterSize, PARTS: parts, WORKGROUP: 64},
    buffers,
    workgroups: gridOf(size, 64),
    cost: {macs: 0, bytes: FLOAT_BYTES * (parts + 1) * size},
  };
  return {dispatches: [dispatch, merge], sums: parts * size};
}

const pixelsOf = ([n, h, w]: Shape4D): number => n * h * w;

function commonConstants({stage, input, output}: FilterGradientProblem): Constants {
  const [top, , left] = resolvePad(stage, input);
  return {
    X_CHANNELS: input[3],
    X_GROUPS: 1,
    OUT_CHANNELS: stage.channels,
    GROUP: stage.group,
    HAS_BIAS: stage.bias,
    PIXELS: pixelsOf(output),
    ...windowConstants(stage.kernel, stage.stride, [top, left]),
    DILATION_H: stage.dilation[0],
    DILATION_W: stage.dilation[1],
    ...mapConstants(input, output),
  };
}

interface Sums {
  readonly kernel: `${GradientKernel}.${'vector' | 'scalar'}`;
  readonly constants: Constants;
  readonly workgroups: readonly [number, number, number];
  readonly parts: number;
}

const powerAbove = (value: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, value)));

/** How many workgroups share the pixels: enough to fill the GPU, but none with fewer than `least` pixels. */
const partsOf = (pixels: number, tiles: number, least: number): number =>
  Math.max(1, Math.min(divideUp(ENOUGH_WORKGROUPS, tiles), Math.floor(pixels / least)));

function depthwiseSums({stage, input, output}: FilterGradientProblem): Sums {
  const c4 = divideUp(stage.channels, 4);
  const pixels = pixelsOf(output);
  const lanes = Math.min(16, powerAbove(c4));
  const rows = Math.min(WORKGROUP / lanes, powerAbove(pixels / 8));
  const [columns, kernelRows] = [divideUp(c4, lanes), stage.kernel[0]];
  // A team's sums meet in as many steps as a pixel or two take: sixteen pixels a thread are worth them.
  const wanted = partsOf(pixels, columns * kernelRows, rows * 16);
  const chunk = divideUp(pixels, wanted);
  const parts = divideUp(pixels, chunk);
  const isVector = input[3] % 4 === 0 && stage.channels % 4 === 0;
  return {
    kernel: `depthwiseGradient.${isVector ? 'vector' : 'scalar'}`,
    constants: {LANES: lanes, ROWS: rows, CHUNK: chunk},
    workgroups: [parts, columns, kernelRows],
    parts,
  };
}

/** Pixels that a workgroup of the grouped kernel multiplies between two barriers. */
const TILE_P = 16;

interface GradientTile {
  readonly TILE_K: number;
  readonly TILE_N: number;
  readonly THREAD_K: number;
}

const threadsOf = ({TILE_K, TILE_N, THREAD_K}: GradientTile): number => (TILE_K / THREAD_K) * (TILE_N / 4);

/** All of at most 4096 sums. Eight rows a thread read less from workgroup memory, but leave small tiles with few threads. */
const TILES: readonly GradientTile[] = [16, 32, 64, 128].flatMap((TILE_K) =>
  [4, 8, 16, 32, 64]
    .filter((TILE_N) => TILE_K * TILE_N <= 4096)
    .map((TILE_N) => ({TILE_K, TILE_N, THREAD_K: TILE_K * TILE_N >= 2048 ? 8 : 4})),
);

/** Multiplications, padding included, and as many loads; a workgroup of less than 64 threads leaves lanes of the hardware idle. */
function effortOf(tile: GradientTile, rows: number, columns: number): number {
  const {TILE_K, TILE_N} = tile;
  const idle = Math.max(1, 64 / threadsOf(tile));
  return roundUp(rows, TILE_K) * roundUp(columns, TILE_N) * idle * (1 + 8 / TILE_K + 8 / TILE_N);
}

function groupedSums({stage, input, output}: FilterGradientProblem): Sums {
  const groups = input[3] / stage.group;
  const columns = stage.channels / groups;
  const rows = stage.kernel[0] * stage.kernel[1] * roundUp(stage.group, 4);
  const effort = (tile: GradientTile): number => effortOf(tile, rows, columns);
  const tile = TILES.reduce((best, next) => (effort(next) < effort(best) ? next : best));
  const {TILE_K, TILE_N} = tile;
  const tiles = divideUp(rows, TILE_K) * divideUp(columns, TILE_N);
  const pixels = pixelsOf(output);
  const steps = divideUp(pixels, TILE_P);
  const perPart = divideUp(steps, partsOf(pixels, tiles * groups, 4 * TILE_P));
  const parts = divideUp(steps, perPart);
  const threads = threadsOf(tile);
  const isVector = stage.group % 4 === 0 && columns % 4 === 0;
  return {
    kernel: `groupedGradient.${isVector ? 'vector' : 'scalar'}`,
    constants: {
      ...tile,
      GROUPS: groups,
      TILE_P,
      CHUNK: perPart * TILE_P,
      X_LOADS: divideUp((TILE_P * TILE_K) / 4, threads),
      DY_LOADS: divideUp((TILE_P * TILE_N) / 4, threads),
    },
    workgroups: [tiles, parts, groups],
    parts,
  };
}
