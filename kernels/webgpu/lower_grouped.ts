/** Grouped convolutions: as a matrix product a group, or where that does not fit or pay, by threads that read for themselves. */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type BufferName, type Constants, divideUp} from '../plan.js';
import {
  groupedLoads,
  type GroupedProblem,
  type GroupedProductTile,
  type GroupedStripTile,
  windowHeight,
} from './grouped_tiling.js';
import type {Ending, Lowering, Rows} from './lowering.js';

interface Given {
  readonly rows: Rows;
  readonly shape: Shape4D;
  /** Of the window. */
  readonly constants: Constants;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

export function grouped(lowering: Lowering, stage: SpatialStage, given: Given): Rows {
  const {rows, shape, ending} = given;
  const {kernel, stride, dilation, group} = stage;
  const statistics =
    ending.next?.op === 'gate' ? 'sums' : ending.next?.op === 'layernorm' ? 'moments' : 'none';
  const problem = {input: rows.shape, shape, kernel, stride, dilation, group, statistics} as const;
  const tile = lowering.tiling.grouped(problem);
  return tile.STAGED ? product(lowering, stage, given, problem, tile) : strips(lowering, stage, given, tile);
}

/** What both kernels are told. */
function constantsOf(lowering: Lowering, stage: SpatialStage, {rows, constants, ending}: Given): Constants {
  const [kh, kw] = stage.kernel;
  return {
    ...constants,
    GROUPS: rows.channels / stage.group,
    GROUP: stage.group,
    FILTER: lowering.packer.add(
      {rows: kh * kw * stage.group, columns: stage.channels},
      {form: 'filter', filter: `${stage.name}Filter`},
    ),
    ...lowering.ending(stage, ending, {}),
  };
}

function costOf(stage: SpatialStage, shape: Shape4D): {macs: number; weights: number} {
  const taps = stage.kernel[0] * stage.kernel[1] * stage.group;
  return {macs: elements(shape) * taps, weights: taps * stage.channels};
}

function product(
  lowering: Lowering,
  stage: SpatialStage,
  given: Given,
  problem: GroupedProblem,
  tile: GroupedProductTile,
): Rows {
  const {rows, shape, ending, into} = given;
  const parts = divideUp(shape[1], tile.ROWS * tile.STRIP) * divideUp(shape[2], tile.TILE_W);
  const blocks = stage.channels / (4 * tile.SPAN * tile.THREADS_N);
  const {statistics} = problem;
  const sizes = {
    sums: shape[0] * parts * stage.channels,
    moments: shape[0] * shape[1] * shape[2] * blocks * 4,
  };
  const buffer = statistics === 'none' ? 'unused' : lowering.scratchFor(statistics, sizes[statistics]);
  const emitted = lowering.emit('groupedProduct', rows, shape, {
    constants: {
      ...constantsOf(lowering, stage, given),
      ...tile,
      ...groupedLoads(tile, problem),
      WINDOW_H: windowHeight(problem, tile.STRIP),
      STRIP4: divideUp(tile.STRIP, 4),
      HAS_SUMS: statistics === 'sums',
      SUM_PARTS: parts,
      HAS_MOMENTS: statistics === 'moments',
    },
    buffers: {statistics: buffer},
    workgroups: [parts, blocks, shape[0]],
    ...costOf(stage, shape),
    ending,
    into,
  });
  if (statistics === 'sums') return {...emitted, sums: {buffer, parts}};
  return statistics === 'moments' ? {...emitted, moments: {buffer, blocks}} : emitted;
}

function strips(lowering: Lowering, stage: SpatialStage, given: Given, tile: GroupedStripTile): Rows {
  const {rows, shape, ending, into} = given;
  const groups = rows.channels / stage.group;
  const byFour = stage.group % 4 === 0 && (stage.channels / groups) % 4 === 0;
  return lowering.emit('grouped', rows, shape, {
    constants: {...constantsOf(lowering, stage, given), ...tile, CHANNEL_STEP: byFour ? 4 : 1},
    buffers: {},
    workgroups: [
      divideUp(shape[1] * divideUp(shape[2], tile.STRIP), tile.STRIPS),
      divideUp(divideUp(stage.channels, 4), tile.LANES),
      shape[0],
    ],
    ...costOf(stage, shape),
    ending,
    into,
  });
}
