/**
 * Runs of stages that one dispatch makes, hidden channels in workgroup memory: two pointwise stages, or a depth-wise convolution
 * with its projection and the expansion before them. Which runs could be one is said here, whether they are by the tiling.
 */
import type {PointwiseStage, SpatialStage, Stage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type BufferName, type Constants, divideUp, type WeightValue} from '../plan.js';
import {activationConstants} from './activation_codes.js';
import {type DepthwiseProjectTile, patchPixels} from './depthwise_project_tiling.js';
import type {FeedForwardTile} from './feed_forward_tiling.js';
import {chunkConstants, type ChunkTile} from './fused_tiling.js';
import {windowOf} from './lower_convolutions.js';
import {expandConstants, expandDepthwise, patchConstants, slopeOf} from './lower_expand.js';
import {blur} from './lower_resampling.js';
import {bareEnding, type Ending, gridOf, type Lowering, type Rows} from './lowering.js';
import type {RowKernel} from './wgsl/index.js';

/** Stages that become one dispatch; the last of them takes the ending. */
export interface FusedRun {
  readonly length: number;
  readonly lower: (ending: Ending, into: BufferName | undefined) => Rows;
}

/** The run that begins with the first of `stages`, where the tiling wants it in one dispatch. */
export function fusedRun(lowering: Lowering, stages: readonly Stage[], rows: Rows): FusedRun | undefined {
  // A gate's factors and vectors have kernels of their own.
  if (rows.vectors || rows.scales || rows.gate || rows.rowOffset) return undefined;
  const [first, second, third] = stages;
  if (first?.op === 'pointwise' && isDepthwise(second, first.channels))
    return (
      (third?.op === 'pointwise'
        ? depthwiseRun(lowering, {expand: first, spatial: second, project: third}, rows)
        : undefined) ?? expandRun(lowering, {expand: first, spatial: second, next: third}, rows)
    );
  if (isDepthwise(first, rows.channels) && second?.op === 'pointwise')
    return depthwiseRun(lowering, {expand: undefined, spatial: first, project: second}, rows);
  if (first?.op === 'pointwise' && second?.op === 'pointwise')
    return feedForwardRun(lowering, [first, second], rows);
  return undefined;
}

const isDepthwise = (stage: Stage | undefined, channels: number): stage is SpatialStage =>
  stage?.op === 'spatial' && stage.group === 1 && stage.channels === channels;

function feedForwardRun(
  lowering: Lowering,
  [expand, project]: readonly [PointwiseStage, PointwiseStage],
  rows: Rows,
): FusedRun | undefined {
  // In f16 a product on subgroup matrices is several times faster.
  if (lowering.tiling.half) return undefined;
  const [n, h, w, k] = rows.shape;
  const [hidden, norm] = [expand.channels, rows.norm !== undefined];
  const tile = lowering.tiling.feedForward({m: n * h * w, k, hidden, n: project.channels, norm});
  if (!tile.FUSED) return undefined;
  const lower = (ending: Ending, into: BufferName | undefined): Rows => {
    const source = rows.joined ? blur(lowering, {taps: 1, stride: 1, mode: 'zero'}, rows, undefined) : rows;
    return feedForward(lowering, {expand, project, rows: source, tile, ending, into});
  };
  return {length: 2, lower};
}

interface FeedForward {
  readonly expand: PointwiseStage;
  readonly project: PointwiseStage;
  readonly rows: Rows;
  readonly tile: FeedForwardTile;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

function feedForward(lowering: Lowering, {expand, project, rows, tile, ending, into}: FeedForward): Rows {
  const m = rows.shape[0] * rows.shape[1] * rows.shape[2];
  const norm = rows.norm?.stage;
  const filter: WeightValue = {
    form: 'filter',
    filter: `${expand.name}Filter`,
    rowScale: norm?.affine ? `${norm.name}Gain` : undefined,
  };
  const shape = {rows: rows.channels, columns: expand.channels};
  const constants: Constants = {
    ...expandConstants(lowering, expand, filter, {
      channels: rows.channels,
      rowOffset: norm?.affine ? `${norm.name}Offset` : undefined,
    }),
    HAS_NORM: norm !== undefined,
    NORM_BLOCKS: rows.norm?.blocks ?? 1,
    'NORM_EPSILON:f32': norm?.epsilon ?? 0,
    COLUMN_SUMS: norm ? lowering.packer.add(shape, {...filter, form: 'columnsums'}) : 0,
    ...chunkConstants(tile, {n: project.channels, sources: tile.TILE_M}),
  };
  const [across, down] = gridOf(m, tile.TILE_M);
  return emitProjected(lowering, {
    kernel: 'feedForward',
    rows,
    shape: [rows.shape[0], rows.shape[1], rows.shape[2], project.channels],
    hidden: expand.channels,
    project,
    tile,
    constants,
    buffers: {norms: rows.norm?.moments ?? 'unused'},
    tiles: [across, down],
    before: {macs: m * rows.channels * expand.channels, weights: rows.channels * expand.channels},
    ending,
    into,
  });
}

interface Stages {
  readonly expand: PointwiseStage | undefined;
  readonly spatial: SpatialStage;
  readonly project: PointwiseStage;
}

function depthwiseRun(lowering: Lowering, stages: Stages, rows: Rows): FusedRun | undefined {
  if (lowering.tiling.half || rows.norm || rows.joined) return undefined;
  const {expand, spatial, project} = stages;
  const [n, h, w] = rows.shape;
  const {shape} = windowOf(spatial, [n, h, w, spatial.channels]);
  const tile = lowering.tiling.depthwiseProject({
    input: rows.shape,
    expand: expand !== undefined,
    stage: spatial,
    shape,
    n: project.channels,
  });
  if (!tile.FUSED) return undefined;
  return {
    length: expand ? 3 : 2,
    lower: (ending, into) => depthwiseProject(lowering, stages, {rows, tile, ending, into}),
  };
}

/** An expansion and the depth-wise convolution behind it, where no LayerNorm wants that one's moments. */
function expandRun(
  lowering: Lowering,
  {expand, spatial, next}: Pick<Stages, 'spatial'> & {expand: PointwiseStage; next: Stage | undefined},
  rows: Rows,
): FusedRun | undefined {
  if (lowering.tiling.half?.matrix || rows.norm || rows.joined || next?.op === 'layernorm') return undefined;
  const [n, h, w] = rows.shape;
  const {shape} = windowOf(spatial, [n, h, w, spatial.channels]);
  const tile = lowering.tiling.expandDepthwise({
    input: rows.shape,
    shape,
    stage: spatial,
    gated: next?.op === 'gate',
  });
  if (!tile.FUSED) return undefined;
  const lower = (ending: Ending, into: BufferName | undefined): Rows =>
    expandDepthwise(lowering, {expand, spatial}, {rows, tile, ending, into});
  return {length: 2, lower};
}

function depthwiseProject(
  lowering: Lowering,
  {expand, spatial, project}: Stages,
  {rows, tile, ending, into}: Pick<FeedForward, 'rows' | 'ending' | 'into'> & {tile: DepthwiseProjectTile},
): Rows {
  const hidden = spatial.channels;
  const [n, h, w] = rows.shape;
  const {shape} = windowOf(spatial, [n, h, w, hidden]);
  const taps = spatial.kernel[0] * spatial.kernel[1];
  const sources = patchPixels(tile, spatial);
  const constants: Constants = {
    ...patchConstants(lowering, spatial, rows.shape),
    // Of the patch, under a strip.
    WINDOW_W: (tile.STRIP_W - 1) * spatial.stride[1] + (spatial.kernel[1] - 1) * spatial.dilation[1] + 1,
    TAP_LOADS: divideUp((taps * tile.HIDDEN_CHUNK) / 4, tile.WORKGROUP),
    HAS_SPATIAL_BIAS: spatial.bias,
    SPATIAL_BIAS: spatial.bias ? lowering.packer.vector(`${spatial.name}Bias`, hidden) : 0,
    ...slopeOf(lowering, 'SPATIAL_SLOPE', spatial),
    ...activationConstants('SPATIAL_ACTIVATION', spatial.activation),
    ...(expand
      ? expandConstants(lowering, expand, {form: 'filter', filter: `${expand.name}Filter`}, {channels: rows.channels}) // prettier-ignore
      : {}),
    ...chunkConstants(tile, {n: project.channels, sources}),
  };
  const tiles = divideUp(shape[1], tile.TILE_H) * divideUp(shape[2], tile.TILE_W);
  const expandMacs = expand ? shape[0] * tiles * sources * rows.channels * hidden : 0;
  return emitProjected(lowering, {
    kernel: expand ? 'expandDepthwiseProject' : 'depthwiseProject',
    rows,
    shape: [shape[0], shape[1], shape[2], project.channels],
    hidden,
    project,
    tile,
    constants,
    buffers: {},
    tiles: [tiles, shape[0]],
    before: {
      macs: expandMacs + elements(shape) * taps,
      weights: (taps + (expand ? rows.channels : 0)) * hidden,
    },
    ending,
    into,
  });
}

interface Projected {
  readonly kernel: RowKernel;
  readonly rows: Rows;
  readonly shape: Rows['shape'];
  readonly hidden: number;
  readonly project: PointwiseStage;
  readonly tile: ChunkTile;
  readonly constants: Constants;
  readonly buffers: Readonly<Record<string, BufferName>>;
  /** Workgroups along x and z; the parts go along y. */
  readonly tiles: readonly [number, number];
  /** What stands before the projection. */
  readonly before: {readonly macs: number; readonly weights: number};
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

/** The dispatch, and the merge behind it where parts of the hidden channels were summed apart. */
function emitProjected(lowering: Lowering, given: Projected): Rows {
  const {kernel, rows, shape, hidden, project, tile, buffers, tiles, before, ending, into} = given;
  const [images, height, width, n] = shape;
  const filter: WeightValue = {
    form: 'filter',
    filter: `${project.name}Filter`,
    columnScale: ending.scale ? `${ending.scale.name}Gain` : undefined,
  };
  const own = lowering.ending(project, ending, {columnScale: filter.columnScale});
  const isParted = tile.PARTS > 1;
  const constants: Constants = {
    M: images * height * width,
    HIDDEN: hidden,
    ...tile,
    ...given.constants,
    PROJECT_FILTER: lowering.packer.add({rows: hidden, columns: n, padRows: true}, filter),
    ...(isParted ? bareEnding(lowering, n) : own),
  };
  const shared = {
    constants,
    buffers,
    workgroups: [tiles[0], tile.PARTS, tiles[1]] as const,
    macs: before.macs + images * height * width * hidden * n,
    weights: before.weights + hidden * n,
  };
  if (!isParted) return lowering.emit(kernel, rows, shape, {...shared, ending, into});
  const sums = lowering.emit(kernel, rows, [tile.PARTS * images, height, width, n], {...shared, ending: {}, into: undefined}); // prettier-ignore
  return lowering.perPixel('merge', sums, shape, {...own, PARTS: tile.PARTS}, into, ending.shortcut);
}
