/**
 * GPU time of a captured model: its dispatches are taken from one replay and repeated in one compute pass between two
 * timestamps, so that neither JavaScript nor uploads count; or timed one by one, each between neighbours of its own model.
 */
import type {Capture} from '../src/capture/index.js';
import type {Recorded} from './timing.js';

export interface ReplayedDispatch extends Recorded {
  /** The pipeline's label: a kernel with its workgroups, or a program of TF.js. */
  readonly label: string;
}

/** The dispatches of one prediction, in order. */
export function dispatchesOf(device: GPUDevice, replay: Capture, predict: () => void): ReplayedDispatch[] {
  const found: ReplayedDispatch[] = [];
  const hook = Object.getOwnPropertyDescriptor(device, 'createCommandEncoder'); // Of whoever else observes the device.
  const original = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = (descriptor) => {
    const encoder = original(descriptor);
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (options) => observePass(begin(options), found);
    return encoder;
  };
  try {
    predict();
  } finally {
    if (hook) Object.defineProperty(device, 'createCommandEncoder', hook);
    else Reflect.deleteProperty(device, 'createCommandEncoder');
  }
  if (found.length !== replay.dispatches)
    throw new Error(`The replay has ${replay.dispatches} dispatches, but ${found.length} were seen.`);
  return found;
}

function observePass(pass: GPUComputePassEncoder, found: ReplayedDispatch[]): GPUComputePassEncoder {
  let pipeline: GPUComputePipeline | undefined;
  let bindGroup: GPUBindGroup | undefined;
  const [setPipeline, setBindGroup, dispatch] = [
    pass.setPipeline.bind(pass),
    pass.setBindGroup.bind(pass) as (index: number, group: GPUBindGroup) => void,
    pass.dispatchWorkgroups.bind(pass),
  ];
  pass.setPipeline = (next) => {
    pipeline = next;
    setPipeline(next);
  };
  pass.setBindGroup = (index: number, group: GPUBindGroup | null | undefined) => {
    if (!group) return;
    bindGroup = group;
    setBindGroup(index, group);
  };
  pass.dispatchWorkgroups = (x, y = 1, z = 1) => {
    if (pipeline && bindGroup)
      found.push({label: pipeline.label, pipeline, bindGroup, workgroups: [x, y, z]});
    dispatch(x, y, z);
  };
  return pass;
}

/** Microseconds of each dispatch in its place, a pass each; medians of `samples` predictions. */
export async function timeEach(
  device: GPUDevice,
  dispatches: readonly ReplayedDispatch[],
  samples: number,
): Promise<number[]> {
  const count = 2 * dispatches.length;
  const querySet = device.createQuerySet({type: 'timestamp', count});
  const size = 8 * count;
  const resolved = device.createBuffer({size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC});
  const staging = device.createBuffer({size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
  const times = dispatches.map((): number[] => []);
  for (let sample = 0; sample < samples; sample++) {
    const encoder = device.createCommandEncoder();
    for (const [i, {pipeline, bindGroup, workgroups}] of dispatches.entries()) {
      const pass = encoder.beginComputePass({
        timestampWrites: {querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1},
      });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...workgroups);
      pass.end();
    }
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const stamps = new BigUint64Array(staging.getMappedRange());
    times.forEach((own, i) => own.push(Number((stamps[2 * i + 1] ?? 0n) - (stamps[2 * i] ?? 0n)) / 1000));
    staging.unmap();
  }
  for (const owned of [querySet, resolved, staging]) owned.destroy();
  return times.map((own) => own.sort((a, b) => a - b)[samples >> 1] ?? NaN);
}
