/** A rule that gives the shapes of all outputs of an op; undefined where one is unknown. */
import type {OpContext, Shape} from './infer.js';

export type Outputs = readonly (Shape | undefined)[];
export type ShapeRule = (op: OpContext) => Outputs;
