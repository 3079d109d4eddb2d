/**
 * Every case of every block, and every tile of the matrix kernels, in f16, against the reference in f32 on the CPU.
 *   node dist/benchmarks/f16_cases.js [--kind=BlockMBConv] [--case=TEXT] [--every=N] [--all] [--storage]
 *     [--emulate=M.N.K.LANES|storage]
 * Prints, per kind, how many passed and the worst error as a share of its tolerance; --all prints every case; --every=N runs each
 * N-th (of the tiles each N/12-th); --storage leaves subgroup matrices out, so that f16 is only stored; --emulate rewrites the
 * shaders for a device without f16. Exits with 1 where a case fails, 2 where the device has no f16.
 */
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {planFor} from '../kernels/webgpu/index.js';
import {executePlan} from '../kernels/webgpu/execute.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {type FittedTile, fitTile, halfFeaturesOf, MATRIX_TILES} from '../kernels/webgpu/matrix_tiling.js';
import {stockLimits, tilingFor} from '../kernels/webgpu/tiling.js';
import {packedWeights} from '../kernels/webgpu/weights.js';
import {
  type Block,
  BLOCK_SPECS,
  type BlockCase,
  reference,
  runBlock,
  type Shape4D,
  type Stage,
} from '../ops/index.js';
import {pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import {useNodeWebGPU} from '../src/node_webgpu.js';
import {registerBlockKernels} from '../src/register.js';
import {toleranceOf} from '../test/support/block_cases.js';
import {drawBlock} from '../test/support/draw.js';
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
  const {x, weights} = drawBlock(block, example.input, index + 1);
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
function report(name: string, outcomes: readonly Outcome[]): void {
  const bad = outcomes.filter(({error, tolerance}) => !(error <= tolerance));
  failed += bad.length;
  for (const one of values.all ? outcomes : bad)
    console.log(
      `  ${one.name} [${one.plan}]: error ${one.error.toExponential(2)}, tolerance ${one.tolerance.toExponential(2)}`,
    );
  const worst = Math.max(0, ...outcomes.map(({error, tolerance}) => error / tolerance));
  const passed = `${outcomes.length - bad.length} of ${outcomes.length} passed`;
  console.log(`${name}: ${passed}, worst ${worst.toFixed(3)} of its tolerance`);
}

for (const {kind, cases} of BLOCK_SPECS.filter((spec) => spec.kind.includes(values.kind))) {
  const outcomes: Outcome[] = [];
  for (const [index, example] of cases.entries())
    if (index % Number(values.every) === 0 && example.name.includes(values.case))
      outcomes.push(await run(kind, example, index));
  report(kind, outcomes);
}

/** A product with an edge on every side of every tile, with all an epilogue can have. */
async function runTile(fit: FittedTile, before: readonly Stage[], input: Shape4D): Promise<Outcome> {
  const stages: Stage[] = [
    ...before,
    spatialStage('conv', {kernel: 3, group: 72, channels: 136, activation: 'gelu'}),
    pointwiseStage('project', 72),
    {op: 'scale', name: 'scale'},
    residualStage([], 'relu'),
  ];
  const block: Block = {kind: 'BlockBasic', stages};
  const example: BlockCase = {name: 'tile', input, stages};
  await tf.setBackend('cpu');
  const {x, weights} = drawBlock(block, example.input, 7);
  const expected = reference(block, x, weights);
  const want = await expected.data();
  await tf.setBackend('webgpu');
  const plan = lowerBlock(block, input, {...tilingFor(stockLimits), half: {matrix: () => fit}});
  const {packed} = packedWeights(backend, plan.weights, new Map(Object.entries(weights)));
  const actual = tf.engine().makeTensorFromTensorInfo(executePlan(backend, plan, {x, weights: packed}));
  const got = await actual.data();
  const {error, scale} = worstError(got, want);
  tf.dispose([x, weights, expected, packed, actual]);
  const name = Object.entries(fit)
    .map(([key, value]) => `${key} ${value}`)
    .join(' ');
  return {name, plan: plan.name, error: error / scale, tolerance: toleranceOf(block, example, 'f16')};
}

const {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize} = backend.device.limits;
const limits = {maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize, processors: 1};
const norm: Stage = {op: 'layernorm', name: 'norm', epsilon: 1e-6, affine: true};
for (const unit of values.kind === '' ? features.matrices : []) {
  const fitted = MATRIX_TILES.flatMap((tile) => fitTile(tile, unit, limits) ?? []);
  // The least workgroup memory makes the epilogue go in parts.
  const inParts = fitted.map((fit) => ({...fit, STORE_FRAGMENTS: 1}));
  const all = [...new Map([...fitted, ...inParts].map((fit) => [JSON.stringify(fit), fit])).values()];
  const before: Stage[] = [norm, pointwiseStage('expand', 72)];
  const outcomes: Outcome[] = [];
  const tileStep = Math.max(1, Math.floor(Number(values.every) / 12));
  for (const fit of all.filter((_, i) => i % tileStep === 0))
    outcomes.push(await runTile(fit, before, [1, 13, 11, 72]));
  report(`tiles on ${JSON.stringify(unit)}`, outcomes);
}
for (const message of new Set(messages)) console.log(`GPU error: ${message.slice(0, 1000)}`);
adapter.dispose();
process.exit(failed + messages.length > 0 ? 1 : 0);
