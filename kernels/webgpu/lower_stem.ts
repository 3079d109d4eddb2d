/** The first convolution of a network, of up to three channels: one dispatch of its own kind. */
import type {SpatialStage} from '../../ops/index.js';
import {elements} from '../../ops/shapes.js';
import {divideUp} from '../plan.js';
import type {Product} from './lower_product.js';
import type {Lowering, Rows} from './lowering.js';
import {lineOf} from './stem_tiling.js';

export function stem(lowering: Lowering, stage: SpatialStage, product: Product): Rows {
  const {rows, shape, taps, constants: window, ending, into} = product;
  const {kernel, stride, dilation} = stage;
  const problem = {shape, channels: rows.channels, kernel, stride, dilation};
  const tile = lowering.tiling.stem(problem);
  const values = taps * rows.channels;
  const columnScale = ending.scale && `${ending.scale.name}Gain`;
  const strips = shape[1] * divideUp(shape[2], tile.STRIP);
  return lowering.emit('stem', rows, shape, {
    constants: {
      ...window,
      ...tile,
      WINDOW_W: lineOf(tile, problem),
      FILTER: lowering.packer.add(
        {rows: values, columns: stage.channels},
        {form: 'filter', filter: `${stage.name}Filter`, columnScale},
      ),
      ...lowering.ending(stage, ending, {columnScale}),
    },
    buffers: {},
    workgroups: [
      divideUp(strips, tile.STRIPS),
      divideUp(divideUp(stage.channels, 4), tile.VECTORS * tile.LANES),
      shape[0],
    ],
    macs: elements(shape) * values,
    weights: values * stage.channels,
    ending,
    into,
  });
}
