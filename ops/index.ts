/** The list of blocks: one line a block. Registration, matcher, tests and benchmarks loop over it. */
import {convSpec} from './conv.js';
import {convFirstSpec} from './conv_first.js';
import {convNextSpec} from './conv_next.js';
import {feedForwardSpec} from './feed_forward.js';
import {fusedMBConvSpec} from './fused_mb_conv.js';
import {headSpec} from './head.js';
import {layerNormSpec} from './layer_norm.js';
import {mbConvSpec} from './mb_conv.js';
import {basicSpec, bottleneckSpec} from './res_net.js';
import {separableSpec} from './separable.js';
import {shuffleSpec} from './shuffle.js';
import type {BlockSpec} from './spec.js';
import {squeezeExciteSpec} from './squeeze_excite.js';
import {uibSpec} from './uib.js';

/** In the order in which the matcher tries them where two of the same length fit. */
export const BLOCK_SPECS: readonly BlockSpec[] = [
  convNextSpec,
  mbConvSpec,
  bottleneckSpec,
  convFirstSpec,
  uibSpec,
  fusedMBConvSpec,
  basicSpec,
  separableSpec,
  shuffleSpec,
  feedForwardSpec,
  convSpec,
  squeezeExciteSpec,
  layerNormSpec,
  headSpec,
];

export * from './activation.js';
export * from './block.js';
export * from './conv.js';
export * from './conv_first.js';
export * from './conv_next.js';
export * from './cost.js';
export * from './feed_forward.js';
export * from './fused_mb_conv.js';
export * from './head.js';
export * from './layer_norm.js';
export * from './mb_conv.js';
export * from './reference.js';
export * from './res_net.js';
export * from './run.js';
export * from './separable.js';
export * from './shuffle.js';
export * from './spec.js';
export * from './squeeze_excite.js';
export * from './trace.js';
export * from './uib.js';
