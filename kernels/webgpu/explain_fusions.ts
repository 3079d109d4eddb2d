/** Runs of stages that could be one dispatch and are not: what that would take by the estimate, and why it is not done. */
import type {TiledKernel} from './candidates.js';
import type {Choice} from './choices.js';
import type {DepthwiseProjectProblem} from './depthwise_project_tiling.js';
import type {DeviceModel} from './device_model.js';
import type {TileEstimate} from './explain.js';
import {worthwhileShare} from './fused_tiling.js';
import type {TunedPlans} from './tuned.js';

/** The kernels whose choices hold a tile for the stages apart. */
const FUSIONS: Partial<Record<TiledKernel, string>> = {
  feedForward: '1×1 and 1×1',
  depthwiseProject: '[1×1,] depth-wise and 1×1',
  expandDepthwise: '1×1 and depth-wise',
};

export interface FusionNotTaken {
  readonly kernel: string;
  readonly stages: string;
  /** Microseconds of the stages' own dispatches, launches included. */
  readonly apart: number;
  /** The best tile in one dispatch; undefined where none fits the device. */
  readonly fused: TileEstimate | undefined;
  readonly reason: string;
}

/** @param rank the tiles of a choice with their estimates, the lowest first. */
export function fusionsNotTaken(
  choices: readonly Choice[],
  rank: (choice: Choice) => readonly TileEstimate[],
  {device, tuned}: {readonly device: DeviceModel; readonly tuned?: TunedPlans | undefined},
): readonly FusionNotTaken[] {
  return choices.flatMap((choice) => {
    const {kernel, problem, tile} = choice;
    const stages = FUSIONS[kernel];
    if (stages === undefined || tile['FUSED'] !== false) return [];
    const ranked = rank(choice);
    const apart = ranked.find((one) => one.tile['FUSED'] === false)?.estimate.total ?? NaN;
    const fused = ranked.find((one) => one.tile['FUSED'] === true);
    const isMeasured = tuned?.tileFor(kernel, problem) !== undefined;
    return [{kernel, stages, apart, fused, reason: reasonFor(choice, {fused, isMeasured}, device)}];
  });
}

interface Considered {
  readonly fused: TileEstimate | undefined;
  readonly isMeasured: boolean;
}

function reasonFor(
  {kernel, problem}: Choice,
  {fused, isMeasured}: Considered,
  {limits}: DeviceModel,
): string {
  const bytes = limits.maxComputeWorkgroupStorageSize;
  if (!fused) return `no tile of it fits registers and ${bytes} bytes of workgroup memory`;
  if (isMeasured) return 'measured, and slower';
  if (kernel === 'expandDepthwise') return 'not among the sizes at which an H200 was faster by it';
  const images = kernel === 'depthwiseProject' ? (problem as DepthwiseProjectProblem).input[0] : undefined;
  const least = Math.round(100 * (1 - worthwhileShare(images)));
  return least > 0 ? `the estimate gains less than ${least} %` : 'the estimate gains nothing';
}
