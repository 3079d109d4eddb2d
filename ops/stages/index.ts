/** Every kind of stage but the residual add, which holds stages itself and is walked by trace.ts and reference.ts. */
import type {ResidualStage, Stage} from '../block.js';
import {concat, padChannels, spread} from './joins.js';
import {gate, grn, layerNorm, scale} from './norms.js';
import {pointwise} from './pointwise.js';
import {blurPool, pool} from './resample.js';
import {shuffle} from './shuffle.js';
import {spatial} from './spatial.js';
import type {StageDefinition} from './stage.js';
import {flatten, mean} from './vectors.js';

export type SimpleStage = Exclude<Stage, ResidualStage>;

/** A missing row is a compile error. */
const DEFINITIONS: {readonly [Op in SimpleStage['op']]: StageDefinition<Extract<SimpleStage, {op: Op}>>} = {
  spatial,
  pointwise,
  layernorm: layerNorm,
  grn,
  gate,
  scale,
  blurpool: blurPool,
  concat,
  pool,
  padchannels: padChannels,
  spread,
  shuffle,
  mean,
  flatten,
};

/** The definition of `stage`'s kind; checkStages has seen that there is one. */
export function definitionOf<S extends SimpleStage>(stage: S): StageDefinition<S> {
  return DEFINITIONS[stage.op] as unknown as StageDefinition<S>; // The table's type ties each op to its own stage type.
}
