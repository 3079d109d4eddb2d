/**
 * Gradients of block ops: equal to those TF.js finds for the reference op by op, and to finite differences of float64 loops
 * that share no code with either.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs'; // registers the gradients of stock ops
import {
  type Block,
  BLOCK_SPECS,
  type BlockCase,
  encodeStages,
  reference,
  runBlock,
  runOrdered,
  type Shape4D,
  traceBlock,
} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {recordGPU} from '../src/profile/gpu_recorder.js';
import {registerBlockKernels} from '../src/register.js';
import {disposeDrawn, drawBlock, type DrawnBlock, oracleInputs} from './support/draw.js';
import {onBackend, useBackend} from './support/environment.js';
import {expectClose} from './support/expect_close.js';
import {expectNoLeak} from './support/expect_no_leak.js';
import {oracleBlock} from './support/oracle.js';
import {seededRandom, seededTensors} from './support/random.js';
import {shrunkCases} from './support/small_cases.js';

type Run = (block: Block, inputs: readonly tf.Tensor[]) => tf.Tensor;

const byOp: Run = ({kind, stages}, inputs) => runOrdered(kind, encodeStages(stages), inputs);

const byReference: Run = (block, [x, ...weights]) => {
  const source = x as tf.Tensor;
  const names = traceBlock(block, source.shape).weights.map(({name}) => name);
  const named = Object.fromEntries(names.map((name, i) => [name, weights[i] as tf.Tensor]));
  return reference(block, source, named, {differentiable: true});
};

const inputsOf = ({x, weights}: DrawnBlock): tf.Tensor[] => [x, ...Object.values(weights)];
const namesOf = ({weights}: DrawnBlock): string[] => ['x', ...Object.keys(weights)];

/** Of x and every weight, in that order; `dy` has the output's shape. */
const gradients = (run: Run, block: Block, drawn: DrawnBlock, dy: tf.Tensor): tf.Tensor[] =>
  tf.grads((...inputs: tf.Tensor[]) => run(block, inputs))(inputsOf(drawn), dy);

const caseOf = (kind: string, name: string): {block: Block; input: Shape4D} => {
  const found = BLOCK_SPECS.find((spec) => spec.kind === kind)?.cases.find((one) => one.name === name);
  if (!found) throw new Error(`${kind} has no case '${name}'.`);
  return {block: {kind, stages: found.stages}, input: found.input};
};

async function expectGradients(kind: string, example: BlockCase): Promise<void> {
  const {stages, input, name} = example;
  const block = {kind, stages};
  const drawn = drawBlock(block, input, 5);
  const dy = seededTensors(6)(traceBlock(block, input).output);
  const before = tf.memory().numTensors;
  const actual = gradients(byOp, block, drawn, dy);
  expect(tf.memory().numTensors)
    .withContext(`${name}: tensors`)
    .toBe(before + actual.length);
  const expected = gradients(byReference, block, drawn, dy);
  for (const [i, of] of namesOf(drawn).entries()) {
    const [got, want] = [actual[i] as tf.Tensor, expected[i] as tf.Tensor];
    await expectClose(got, want, {name: `${name}: gradient of ${of}`, tolerance: 1e-6});
  }
  await expectFiniteDifferences(block, example, drawn, {dy, actual});
  tf.dispose([actual, expected, dy]);
  disposeDrawn(drawn);
}

/**
 * For each input by itself, along a random direction d: (F(v + hd) − F(v − hd)) / 2h against ⟨gradient, d⟩, where F is the
 * float64 block weighted by dy. h = 1e-7 leaves rounding errors of 1e-8, and seldom steps over a kink of relu and its like.
 */
async function expectFiniteDifferences(
  {stages}: Block,
  {name, input}: BlockCase,
  drawn: DrawnBlock,
  found: {readonly dy: tf.Tensor; readonly actual: readonly tf.Tensor[]},
): Promise<void> {
  const [values, slopes, next] = [await oracleInputs(drawn), await found.dy.data(), seededRandom(7)];
  const sumAt = (of: string, moved: Float64Array): number => {
    const x = of === 'x' ? {shape: input, data: moved} : values.x;
    const {data} = oracleBlock(stages, x, {...values.weights, [of]: moved});
    return data.reduce((sum, value, i) => sum + value * (slopes[i] ?? NaN), 0);
  };
  const step = 1e-7;
  for (const [index, of] of namesOf(drawn).entries()) {
    const at = Float64Array.from(of === 'x' ? values.x.data : (values.weights[of] ?? []));
    const direction = at.map(() => 2 * next() - 1);
    const move = (h: number): Float64Array => at.map((value, i) => value + h * (direction[i] ?? 0));
    const measured = (sumAt(of, move(step)) - sumAt(of, move(-step))) / (2 * step);
    const gradient = await (found.actual[index] as tf.Tensor).data();
    const along = direction.reduce((sum, d, i) => sum + d * (gradient[i] ?? NaN), 0);
    expect(Math.abs(along - measured))
      .withContext(`${name}: gradient of ${of} is ${along} along a direction, measured ${measured}`)
      .toBeLessThanOrEqual(1e-5 * Math.hypot(...gradient) * Math.hypot(...direction) + 1e-6);
  }
}

onBackend('cpu', 'block gradients', () => {
  beforeAll(() => registerBlockKernels());

  for (const spec of BLOCK_SPECS) {
    it(`of ${spec.kind} are those of the reference, and finite differences`, async () => {
      const cases = shrunkCases(spec, 45_000);
      expect(cases.length).toBeGreaterThan(spec.cases.length / 3);
      for (const example of cases) await expectGradients(spec.kind, example);
    });
  }

  it('stay finite where a channel is zero everywhere before GRN', async () => {
    const {block, input} = caseOf('BlockConvNeXt', 'GRN, stride 2');
    const stages = block.stages.map((stage) =>
      stage.op === 'pointwise' ? {...stage, activation: {fn: 'relu'} as const} : stage,
    );
    const drawn = drawBlock(block, input, 8);
    const dead = {...drawn.weights, expandBias: tf.fill([32], -100)};
    const grads = tf.grads((...inputs: tf.Tensor[]) => tf.sum(byOp({...block, stages}, inputs)))([
      drawn.x,
      ...Object.values(dead),
    ]);
    for (const gradient of grads) expect((await gradient.data()).every(Number.isFinite)).toBeTrue();
    tf.dispose([grads, dead]);
    disposeDrawn(drawn);
  });

  it('add up where blocks share x and weights, and one weight stands in two places', async () => {
    const block: Block = {
      kind: 'BlockSeparable',
      stages: [
        spatialStage('spatial', {kernel: 3, group: 1, channels: 4, activation: 'swish'}),
        pointwiseStage('project', 4, 'linear'),
        residualStage(),
      ],
    };
    const drawn = drawBlock(block, [1, 4, 5, 4], 9);
    const {spatialFilter, spatialBias, projectFilter} = drawn.weights as Record<string, tf.Tensor>;
    const shared = [drawn.x, spatialFilter, spatialBias, projectFilter] as tf.Tensor[];
    const twice =
      (run: Run) =>
      (x: tf.Tensor, filter: tf.Tensor, bias: tf.Tensor, project: tf.Tensor): tf.Tensor => {
        const once = run(block, [x, filter, bias, project, bias]);
        return tf.add(run(block, [once, filter, bias, project, bias]), tf.mul(once, x));
      };
    const actual = tf.grads(twice(byOp))(shared);
    const expected = tf.grads(twice(byReference))(shared);
    for (const [i, gradient] of actual.entries())
      await expectClose(gradient, expected[i] as tf.Tensor, {name: `input ${i}`, tolerance: 1e-6});
    tf.dispose([actual, expected]);
    disposeDrawn(drawn);
  });

  it('of x alone need none of the weights', async () => {
    const {block, input} = caseOf('BlockMBConv', 'gate, residual');
    const drawn = drawBlock(block, input, 10);
    await expectNoLeak(async () => {
      const alone = (run: Run): tf.Tensor =>
        tf.grad((x: tf.Tensor) => run(block, [x, ...Object.values(drawn.weights)]))(drawn.x);
      const [actual, expected] = [alone(byOp), alone(byReference)];
      await expectClose(actual, expected, {tolerance: 1e-6});
      tf.dispose([actual, expected]);
    });
    disposeDrawn(drawn);
  });

  it('have gradients of their own, as a gradient penalty wants', async () => {
    const block: Block = {
      kind: 'BlockFusedMBConv',
      stages: [
        spatialStage('expand', {kernel: 3, group: 3, channels: 3, activation: 'swish'}),
        residualStage(),
      ],
    };
    const drawn = drawBlock(block, [1, 4, 4, 3], 11);
    const penalty =
      (run: Run) =>
      (x: tf.Tensor): tf.Tensor => {
        const slope = tf.grad((z: tf.Tensor) => run(block, [z, ...Object.values(drawn.weights)]))(x);
        return tf.sum(tf.square(slope));
      };
    await expectNoLeak(async () => {
      const [actual, expected] = [tf.grad(penalty(byOp))(drawn.x), tf.grad(penalty(byReference))(drawn.x)];
      await expectClose(actual, expected, {tolerance: 1e-6});
      tf.dispose([actual, expected]);
    });
    disposeDrawn(drawn);
  });

  it('keep only the inputs of each block between the passes', async () => {
    const block = {kind: 'BlockMBConv', stages: caseOf('BlockMBConv', 'gate, residual').block.stages};
    const drawn = drawBlock(block, [1, 16, 16, 8], 12);
    const peakOf = async (run: Run): Promise<number> => {
      const chain = (x: tf.Tensor, ...weights: tf.Tensor[]): tf.Tensor =>
        Array.from({length: 6}).reduce<tf.Tensor>((map) => run(block, [map, ...weights]), x);
      const {peakBytes} = await tf.profile(() => {
        tf.dispose(tf.grads(chain)(inputsOf(drawn)));
      });
      return peakBytes;
    };
    const [byBlock, byLayer] = [await peakOf(byOp), await peakOf(byReference)];
    expect(byBlock).toBeLessThan(byLayer / 2);
    disposeDrawn(drawn);
  });
});

onBackend('cpu', 'training through block ops', () => {
  beforeAll(() => registerBlockKernels());

  it('lets the loss fall, every weight move, and nothing pile up', async () => {
    const block: Block = {
      kind: 'BlockMBConv',
      stages: [
        pointwiseStage('expand', 12, 'swish'),
        spatialStage('spatial', {kernel: 3, group: 1, channels: 12, activation: 'swish'}),
        gateStage(2),
        pointwiseStage('project', 4),
        residualStage(),
      ],
    };
    const {x, weights} = drawBlock(block, [6, 5, 5, 4], 13);
    const variables = Object.entries(weights).map(([, value]) => tf.variable(value));
    const names = Object.keys(weights);
    const target = seededTensors(14)([6, 4]);
    const optimizer = tf.train.adam(0.05);
    const loss = (): tf.Scalar => {
      const out = runBlock(
        block,
        x,
        Object.fromEntries(names.map((name, i) => [name, variables[i] as tf.Tensor])),
      );
      return tf.losses.meanSquaredError(target, tf.mean(out, [1, 2]));
    };
    const {value: first, grads} = tf.variableGrads(loss, variables);
    expect(Object.keys(grads).length).toBe(variables.length);
    const losses: number[] = [];
    const counts: number[] = [];
    for (let step = 0; step < 30; step++) {
      const value = optimizer.minimize(loss, true, variables) as tf.Scalar;
      losses.push((await value.data())[0] ?? NaN);
      value.dispose();
      counts.push(tf.memory().numTensors);
    }
    expect(losses[0]).toBeCloseTo((await first.data())[0] ?? NaN, 6);
    expect(losses.at(-1)).toBeLessThan((losses[0] ?? 0) / 2);
    expect(counts.at(-1)).toBe(counts[0]);
    for (const [i, variable] of variables.entries()) {
      const moved = tf.tidy(() => tf.max(tf.abs(tf.sub(variable, weights[names[i] ?? ''] as tf.Tensor))));
      expect((await moved.data())[0])
        .withContext(names[i] ?? '')
        .toBeGreaterThan(1e-3);
      moved.dispose();
    }
    optimizer.dispose();
    tf.dispose([x, weights, variables, target, first, grads]);
  });
});

onBackend('webgpu', 'block gradients', () => {
  beforeAll(() => registerBlockKernels());

  for (const spec of BLOCK_SPECS) {
    it(`of ${spec.kind} are those of the CPU`, async () => {
      // A few of each kind: every shape is some dozens of shaders, which a CPU compiles and runs here.
      const cases = shrunkCases(spec, 20_000);
      const every = Math.ceil(cases.length / 8);
      for (const [i, example] of cases.entries())
        if (i % every === 0 || /multiplier|grouped|dilat/.test(example.name))
          await expectGradientsOfCPU({kind: spec.kind, stages: example.stages}, example, {leaks: i === 0});
    });
  }

  it('of x are made only where they are asked for', async () => {
    const {block, input} = caseOf('BlockConv', 'residual');
    const drawn = drawBlock(block, input, 17);
    const counted = async (wanted: 'x' | 'weights'): Promise<number> => {
      const names = Object.keys(drawn.weights);
      const recording = recordGPU((tf.backend() as WebGPUBackend).device);
      const grads = tf.tidy(() =>
        wanted === 'x'
          ? tf.grads((...inputs: tf.Tensor[]) => byOp(block, inputs))(inputsOf(drawn))
          : tf.grads((...weights: tf.Tensor[]) => byOp(block, [drawn.x, ...weights]))(
              names.map((name) => drawn.weights[name] as tf.Tensor),
            ),
      );
      await grads[0]?.data();
      tf.dispose(grads);
      return (await recording.stop()).reduce((sum, {dispatches}) => sum + dispatches, 0);
    };
    await counted('x');
    expect(await counted('weights')).toBeLessThan(await counted('x'));
    disposeDrawn(drawn);
  });
});

async function expectGradientsOfCPU(
  block: Block,
  {input, name}: BlockCase,
  {leaks}: {readonly leaks: boolean},
): Promise<void> {
  await useBackend('cpu');
  const drawn = drawBlock(block, input, 15);
  const dy = seededTensors(16)(traceBlock(block, input).output);
  const expected = gradients(byReference, block, drawn, dy);
  const values = await Promise.all(expected.map((gradient) => gradient.data()));
  await useBackend('webgpu');
  const compare = async (): Promise<void> => {
    const actual = gradients(byOp, block, drawn, dy);
    for (const [i, of] of namesOf(drawn).entries())
      await expectClose(actual[i] as tf.Tensor, values[i] ?? [], {
        name: `${name}: gradient of ${of}`,
        tolerance: 2e-5,
      });
    tf.dispose(actual);
  };
  // Weights that the gradient does not read are uploaded by the second call, when the kernel packs them beside the others.
  if (leaks) tf.dispose(gradients(byOp, block, drawn, dy));
  await (leaks ? expectNoLeak(compare) : compare());
  tf.dispose([expected, dy]);
  disposeDrawn(drawn);
}
