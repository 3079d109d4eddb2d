/** A full 3×3 convolution by Winograd's F(2×2, 3×3) or F(4×4, 3×3), in three dispatches: wgsl/winograd.ts. */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {type Constants, divideUp, type WeightValue} from '../plan.js';
import {winogradComponents, winogradProduct, winogradTiles, type WinogradTile} from './convolution_tiling.js';
import {bareEnding, gridOf, type Lowering, type Rows} from './lowering.js';
import type {Product} from './lower_product.js';
import {loadsOf} from './tiling.js';

const WORKGROUP = 64;

export function winograd(
  lowering: Lowering,
  stage: SpatialStage,
  {rows, shape, constants: window, ending, into}: Product,
  tile: WinogradTile,
): Rows {
  const side = tile.WINOGRAD;
  const {m, n, k} = winogradProduct({input: rows.shape, shape}, tile);
  const tiles = winogradTiles(shape, side);
  const components = winogradComponents(side);
  const component = m / components;
  const places: Constants = {
    ...window,
    TILES: tiles,
    TILES_H: divideUp(shape[1], side),
    TILES_W: divideUp(shape[2], side),
    OUTPUT_SIDE: side,
    INPUT_SIDE: side + 2,
    COMPONENT_ROWS: component,
    WORKGROUP,
  };
  const transformed: Shape4D = [components, component, 1, k];
  const map = lowering.emit(`winogradInput${side}`, rows, transformed, {
    constants: places,
    buffers: {},
    workgroups: gridOf((tiles * k) / 4, WORKGROUP),
    macs: 0,
    weights: 0,
    ending: {},
    into: undefined,
  });
  const products = multiply(lowering, stage, map, {
    ...{m, n, k, component, tile},
    channelsIn: rows.channels,
    scale: ending.scale?.name,
  });
  const columnScale = ending.scale ? `${ending.scale.name}Gain` : undefined;
  return lowering.emit(`winogradOutput${side}`, products, shape, {
    constants: {...places, ...lowering.ending(stage, ending, {columnScale}), PARTS: tile.PARTS, ROWS: m},
    buffers: {},
    workgroups: gridOf((tiles * n) / 4, WORKGROUP),
    macs: 0,
    weights: 0,
    ending,
    into,
  });
}

/** The products of each component's rows with its own filter: [PARTS][component][tile][n]. */
function multiply(
  lowering: Lowering,
  {name, channels}: SpatialStage,
  map: Rows,
  product: {
    m: number;
    n: number;
    k: number;
    component: number;
    tile: WinogradTile;
    channelsIn: number;
    scale: string | undefined;
  },
): Rows {
  const {m, n, k, component, tile, channelsIn, scale} = product;
  const components = winogradComponents(tile.WINOGRAD);
  const filter: WeightValue = {
    form: 'winograd',
    filter: `${name}Filter`,
    columnScale: scale === undefined ? undefined : `${scale}Gain`,
  };
  const section = {taps: components, rows: channelsIn, columns: channels, padRows: true};
  const constants: Constants = {
    M: m,
    N: n,
    K: k,
    ...tile,
    ...loadsOf(tile),
    COMPONENT_ROWS: component,
    FILTER: lowering.packer.add(section, filter),
    ...bareEnding(lowering, n),
    HAS_SCALES: false,
    PIXELS: 1,
    HAS_NORM: false,
    NORM_BLOCKS: 1,
    'NORM_EPSILON:f32': 0,
    COLUMN_SUMS: 0,
  };
  const [across, down] = gridOf(m, tile.TILE_M);
  return lowering.emit('winogradProduct', map, [tile.PARTS * components, component, 1, n], {
    constants,
    buffers: {scales: 'unused', norms: 'unused'},
    workgroups: [across, divideUp(n, tile.TILE_N) * tile.PARTS, down],
    macs: m * n * k,
    weights: components * k * n,
    ending: {},
    into: undefined,
  });
}
