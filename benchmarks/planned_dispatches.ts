/** The dispatches that a capture replays, each with what its plan says of it. */
import type {DispatchCost, Plan} from '../kernels/plan.js';
import {kernelText} from '../kernels/webgpu/compile.js';
import {pipelinesOf} from '../kernels/webgpu/execute.js';
import type {ReplayedDispatch} from './replayed.js';

export interface PlannedDispatch extends ReplayedDispatch {
  /** A kernel's name, or of a program of TF.js its label. */
  readonly kernel: string;
  /** Undefined for a program of TF.js. */
  readonly planned: {readonly block: string; readonly input: readonly number[]; readonly cost: DispatchCost} | undefined; // prettier-ignore
}

const isOurs = (kernel: string): boolean => {
  try {
    kernelText(kernel);
    return true;
  } catch {
    return false;
  }
};

/**
 * @param plans of the blocks, in the order they run. A dispatch is a plan's where it has the pipeline that is compiled for it,
 *   so the same kernel, constants and bindings, and as many workgroups.
 * @throws where the replay's dispatches of our kernels are not those of the plans, one by one.
 */
export function withPlans(
  device: GPUDevice,
  replayed: readonly ReplayedDispatch[],
  plans: readonly Plan[],
): PlannedDispatch[] {
  const pipelines = pipelinesOf(device);
  const expected = plans.flatMap(({block, input, dispatches}) =>
    dispatches.map((dispatch) => ({block: block.kind, input, dispatch})),
  );
  let next = 0;
  const matched = replayed.map((one, at): PlannedDispatch => {
    const {label, pipeline, workgroups} = one;
    const kernel = label.split(' ')[0] ?? '';
    if (!isOurs(kernel)) return {...one, kernel: label, planned: undefined};
    const found = expected[next++];
    const seen = `Dispatch ${at} of the replay is ${kernel} ${workgroups.join('×')}`;
    if (!found) throw new Error(`${seen}, but the plans have no more than ${expected.length} dispatches.`);
    const {block, input, dispatch} = found;
    const isSame =
      dispatch.kernel === kernel &&
      dispatch.workgroups.join() === workgroups.join() &&
      pipelines.get(dispatch).pipeline === pipeline;
    if (!isSame) throw new Error(`${seen}, but ${block} on [${input.join(', ')}] plans ${dispatch.kernel} ${dispatch.workgroups.join('×')} of other constants there.`); // prettier-ignore
    return {...one, kernel, planned: {block, input, cost: dispatch.cost}};
  });
  if (next < expected.length)
    throw new Error(`The plans have ${expected.length} dispatches, the replay only ${next} of them.`);
  return matched;
}
