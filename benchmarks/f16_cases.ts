/**
 * Every case of every block in f16, against the reference in f32 on the CPU.
 *   node dist/benchmarks/f16_cases.js [--kind=BlockMBConv] [--case=TEXT] [--every=N] [--all] [--storage]
 *     [--emulate=M.N.K.LANES|storage]
 * Prints, per kind, how many passed and the worst error as a share of its tolerance; --all prints every case; --every=N runs each
 * N-th; --storage leaves subgroup matrices out, so that f16 is only stored; --emulate rewrites the shaders for a device without
 * f16. Exits with 1 where a case fails, 2 where the device has no f16.
 */
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {planFor} from '../kernels/webgpu/index.js';
import {halfFeaturesOf} from '../kernels/webgpu/matrix_tiling.js';
import {type Block, BLOCK_SPECS, type BlockCase, reference, runBlock} from '../ops/index.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {draw, toleranceOf} from '../test/support/block_cases.js';
import {emulateHalf, fragmentOf} from '../test/support/emulate_f16.js';
import {worstError} from '../test/support/expect_close.js';

const {values} = parseArgs({
  options: {
    kind: {type: 'string', default: ''},
    case: {type: 'string', default: ''},
    every: {type: 'string', default: '1'},
    all: {type: 'boolean', default: false},
    storage: {type: 'boolean', default: false},
    emulate: {type: 'string'},
  },
});
const adapter = await useNodeWebGPU(
  values.emulate === undefined
    ? {halfPrecision: true, ...(values.storage ? {features: ['shader-f16']} : {})}
    : // Zeroing workgroup memory takes SwiftShader's compiler a second a pipeline.
      {flags: ['enable-dawn-features=disable_workgroup_init']},
);
tf.env().set('WEBGPU_CPU_FORWARD', false);
const backend = tf.backend() as WebGPUBackend;
if (values.emulate !== undefined) emulateHalf(backend.device, fragmentOf(values.emulate));
const features = halfFeaturesOf(backend.device);
console.log(JSON.stringify({adapter: adapter.description, features, emulated: values.emulate}));
if (!features) {
  console.log('This device has no f16: nothing was run.');
  process.exit(2);
}
const messages: string[] = [];
backend.device.addEventListener('uncapturederror', ({error}) => messages.push(error.message));
registerBlockKernels();

interface Outcome {
  readonly name: string;
  readonly plan: string;
  readonly error: number;
  readonly tolerance: number;
}

async function run(kind: string, example: BlockCase, index: number): Promise<Outcome> {
  const block: Block = {kind, stages: example.stages};
  await tf.setBackend('cpu');
  const {x, weights} = draw(block, example, index + 1);
  const expected = reference(block, x, weights);
  const want = await expected.data();
  await tf.setBackend('webgpu');
  const actual = runBlock(block, x, weights, {precision: 'f16'});
  const got = await actual.data();
  const {error, scale} = worstError(got, want);
  tf.dispose([x, weights, expected, actual]);
  return {
    name: `${kind} ${index}: ${example.name}`,
    plan: planFor(backend, block, example.input, 'f16').name,
    error: error / scale,
    tolerance: toleranceOf(block, example, 'f16'),
  };
}

let failed = 0;
for (const spec of BLOCK_SPECS.filter(({kind}) => kind.includes(values.kind))) {
  const outcomes: Outcome[] = [];
  for (const [index, example] of spec.cases.entries())
    if (index % Number(values.every) === 0 && example.name.includes(values.case))
      outcomes.push(await run(spec.kind, example, index));
  const bad = outcomes.filter(({error, tolerance}) => !(error <= tolerance));
  failed += bad.length;
  for (const {name, plan, error, tolerance} of values.all ? outcomes : bad)
    console.log(
      `  ${name} [${plan}]: error ${error.toExponential(2)}, tolerance ${tolerance.toExponential(2)}`,
    );
  const worst = Math.max(0, ...outcomes.map(({error, tolerance}) => error / tolerance));
  console.log(
    `${spec.kind}: ${outcomes.length - bad.length} of ${outcomes.length} passed, worst ${worst.toFixed(3)} of its tolerance`,
  );
}
for (const message of new Set(messages)) console.log(`GPU error: ${message.slice(0, 1000)}`);
adapter.dispose();
process.exit(failed + messages.length > 0 ? 1 : 0);
