/** Keeps a GPU at work while the CPU is, so that its clock does not fall. Knows nothing of models or pipelines. */

/** Of one submit: dependent multiply-adds of each invocation, 1 ms of an H200, some 10 ms of a phone. */
const STEPS = 500_000;
const INVOCATIONS = 64;

/** One workgroup is enough for a clock, and leaves the GPU to whoever else needs it. */
const SHADER = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> values: array<f32, ${INVOCATIONS}>;

@compute @workgroup_size(${INVOCATIONS})
fn main(@builtin(local_invocation_index) local: u32) {
  var value = values[local];
  for (var i = 0u; i < ${STEPS}u; i++) { value = fma(value, 0.5, 1.0); }
  values[local] = value;
}
`;

/** Submits small dispatches, two ahead, until the function it returns is called; that resolves when the last is done. */
export function keepBusy(device: GPUDevice): () => Promise<void> {
  let isOver = false;
  const done = work(device, () => isOver).catch(() => undefined); // of a lost device, which whoever needs it tells of
  return () => {
    isOver = true;
    return done;
  };
}

async function work(device: GPUDevice, isOver: () => boolean): Promise<void> {
  const module = device.createShaderModule({label: 'keep busy', code: SHADER});
  const pipeline = await device.createComputePipelineAsync({layout: 'auto', compute: {module}});
  const buffer = device.createBuffer({
    label: 'keep busy',
    size: INVOCATIONS * Float32Array.BYTES_PER_ELEMENT,
    usage: GPUBufferUsage.STORAGE,
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{binding: 0, resource: {buffer}}],
  });
  const submit = (): Promise<undefined> => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(1);
    pass.end();
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone();
  };
  try {
    let ahead = submit();
    while (!isOver()) {
      const next = submit();
      await ahead;
      ahead = next;
    }
    await ahead;
  } finally {
    buffer.destroy();
  }
}
