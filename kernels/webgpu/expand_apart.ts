/** An expansion and the depth-wise convolution behind it, which may be one dispatch, as two. */
import type {Shape4D, SpatialStage} from '../../ops/index.js';
import {roundUp} from '../plan.js';
import {FLOAT_BYTES, FUSED_RATES, type ProductTime} from './fused_tiling.js';

/** expand 1×1 · depth-wise. */
export interface ExpandProblem {
  /** Of the rows before the expansion. */
  readonly input: Shape4D;
  /** Of the depth-wise convolution's output. */
  readonly shape: Shape4D;
  readonly stage: SpatialStage;
  /** Whether a gate behind them wants sums. */
  readonly gated: boolean;
}

type Stages = Pick<ExpandProblem, 'input' | 'shape' | 'stage'>;

/** Microseconds of a depth-wise convolution as a dispatch of its own, launch included. */
export function depthwiseTime({input, shape, stage}: Stages): number {
  const {launch, bandwidth, depthwiseRate, depthwiseFixed} = FUSED_RATES;
  const pixels = ([images, height, width]: Shape4D): number => images * height * width;
  const memory = (FLOAT_BYTES * stage.channels * (pixels(input) + pixels(shape))) / bandwidth;
  const arithmetic = (2 * stage.kernel[0] * stage.kernel[1] * stage.channels * pixels(shape)) / depthwiseRate;
  return launch + depthwiseFixed + Math.max(memory, arithmetic);
}

/** Microseconds of both as dispatches of their own, launches included. */
export function expandApart(problem: Stages, product: ProductTime): number {
  const [images, height, width, channels] = problem.input;
  const m = images * height * width;
  const k = roundUp(channels, 4);
  return (
    product({m, n: problem.stage.channels, k, canPart: true, isPointwise: true}) + depthwiseTime(problem)
  );
}
