/** An expansion that the depth-wise convolution behind it makes for itself, tile by tile, in one dispatch. */
import type {PointwiseStage, Shape4D, SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {type BufferName, type Constants, divideUp, type WeightValue} from '../plan.js';
import {activationConstants} from './activation_codes.js';
import {expandedPixels, expandRowsConstants, threadsOf as threadsOfRows} from './expand_rows_tiling.js';
import {isReduced} from './gate_tiling.js';
import {windowOf} from './lower_convolutions.js';
import {mapConstants, windowConstants} from './lower_resampling.js';
import {type Ending, type Lowering, type Rows} from './lowering.js';
import {reducing, sumsForGate} from './lower_statistics.js';
import {type ExpandPatchTile, type ExpandTile, isPatchTile, patchOf, threadsOf} from './tiling.js';

interface Stages {
  readonly expand: PointwiseStage;
  readonly spatial: SpatialStage;
}

/** Filter, bias and activation of an expansion, as wgsl/fused.ts reads them. */
export function expandConstants(
  lowering: Lowering,
  stage: PointwiseStage,
  filter: WeightValue,
  {channels, rowOffset}: {readonly channels: number; readonly rowOffset?: string | undefined},
): Constants {
  const hasBias = stage.bias || rowOffset !== undefined;
  const bias: WeightValue = {...filter, form: 'bias', rowScale: undefined, bias: stage.bias ? `${stage.name}Bias` : undefined, rowOffset}; // prettier-ignore
  return {
    EXPAND_FILTER: lowering.packer.add({rows: channels, columns: stage.channels, padRows: true}, filter),
    HAS_EXPAND_BIAS: hasBias,
    EXPAND_BIAS: hasBias ? lowering.packer.add({rows: 1, columns: stage.channels}, bias) : 0,
    ...slopeOf(lowering, 'EXPAND_SLOPE', stage),
    ...activationConstants('EXPAND_ACTIVATION', stage.activation),
  };
}

export const slopeOf = (
  lowering: Lowering,
  constant: string,
  {name, activation, channels}: Pick<PointwiseStage, 'name' | 'activation' | 'channels'>,
): Constants => lowering.slope(constant, activation.fn === 'prelu' ? `${name}Alpha` : undefined, channels);

/** What a depth-wise convolution reads of its map's pixels, which a plain or an expanded patch holds. */
export function patchConstants(lowering: Lowering, stage: SpatialStage, [n, h, w]: Shape4D): Constants {
  const {shape, top, left} = windowOf(stage, [n, h, w, stage.channels]);
  const taps = stage.kernel[0] * stage.kernel[1];
  return {
    ...windowConstants(stage.kernel, stage.stride, [top, left]),
    DILATION_H: stage.dilation[0],
    DILATION_W: stage.dilation[1],
    ...mapConstants([n, h, w, stage.channels], shape),
    FILTER: lowering.packer.add({rows: taps, columns: stage.channels}, {form: 'filter', filter: `${stage.name}Filter`}), // prettier-ignore
  };
}

/** The constants that follow from a tile whose patch is in workgroup memory. */
const patchTileConstants = (tile: ExpandPatchTile, {kernel, stride, dilation}: SpatialStage): Constants => ({
  ...tile,
  // Input under one strip.
  WINDOW_H: (tile.STRIP_H - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1,
  WINDOW_W: (tile.STRIP_W - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1,
});

interface Expanded {
  readonly rows: Rows;
  readonly tile: ExpandTile;
  readonly ending: Ending;
  readonly into: BufferName | undefined;
}

export function expandDepthwise(
  lowering: Lowering,
  {expand, spatial}: Stages,
  {rows, tile, ending, into}: Expanded,
): Rows {
  const hidden = spatial.channels;
  const {shape} = windowOf(spatial, [rows.shape[0], rows.shape[1], rows.shape[2], hidden]);
  const tiles = divideUp(shape[1], tile.TILE_H) * divideUp(shape[2], tile.TILE_W);
  const gate = ending.next?.op === 'gate' ? ending.next : undefined;
  const threads = isPatchTile(tile) ? threadsOf(tile) : threadsOfRows(tile);
  const blocks = divideUp(divideUp(hidden, 4), tile.LANES);
  const sums = gate && sumsForGate(lowering, gate, shape, {threads, tiles, blocks, next: ending.afterNext});
  const filter: WeightValue = {form: 'filter', filter: `${expand.name}Filter`};
  const constants: Constants = {
    ...patchConstants(lowering, spatial, rows.shape),
    ...(isPatchTile(tile) ? patchTileConstants(tile, spatial) : expandRowsConstants(tile, {input: rows.shape, stage: spatial})), // prettier-ignore
    ...lowering.ending(spatial, ending, {}),
    ...expandConstants(lowering, expand, filter, {channels: rows.channels}),
    HAS_SUMS: sums !== undefined,
    SUM_PARTS: tiles,
    ...reducing(lowering, gate, sums?.gate, {threads, lanes: tile.LANES, channels: hidden}),
    HAS_MOMENTS: false,
  };
  const reduced = gate && sums?.gate && isReduced(sums.gate) ? gate.channels : 0;
  const taps = spatial.kernel[0] * spatial.kernel[1];
  const pixels = isPatchTile(tile) ? patchOf(tile, spatial) : expandedPixels(tile, spatial);
  const expanded = shape[0] * tiles * pixels * rows.channels;
  const emitted = lowering.emit(isPatchTile(tile) ? 'expandDepthwise' : 'expandRows', rows, shape, {
    constants,
    buffers: {statistics: sums?.buffer ?? 'unused'},
    workgroups: [tiles, blocks, shape[0]],
    macs: elements(shape) * taps + (expanded + shape[0] * tiles * reduced) * hidden,
    weights: (taps + rows.channels + reduced) * hidden,
    ending,
    into,
  });
  return sums ? {...emitted, sums} : emitted;
}
