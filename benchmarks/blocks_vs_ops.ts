/**
 * GPU time of every block of the networks as planned beside that of the stock ops it replaces, and a list of the blocks that
 * lose. Both are recorded dispatches on random data, timed the same way by src/tune.
 *   node dist/benchmarks/blocks_vs_ops.js [--networks=efficientnet_b0,resnet50,…] [--batches=1,8,32,128]
 *     [--tune] [--tuned=FILE] [--out=FILE]
 * --tune measures the tiles of each block first; --tuned loads them from a file, and with --tune writes them there. About a
 * second a block, with --tune ten; it ends with the number of losses.
 */
import {writeFileSync} from 'node:fs';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import type {WebGPUBackend} from '@tensorflow/tfjs-backend-webgpu';
import {PipelineCache} from '../kernels/webgpu/compile.js';
import {limitsOf, planFor, tunedOf} from '../kernels/webgpu/index.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {readTuned, useNodeWebGPU, writeTuned} from '../src/node.js';
import {GpuClock} from '../src/tune/gpu_clock.js';
import {timeBlock, tunePlans} from '../src/tune/tune.js';
import {blocksOf} from './network_blocks.js';
import {atBatch, type NetworkBlock, NETWORKS} from './networks.js';
import {EXACT_TIMESTAMPS} from './timing.js';

const ARCHITECTURES = [
  'efficientnet_b4',
  'efficientnetv2_s',
  'mobilenetv3_large',
  'convfirst_tiny',
  'resnet50',
];

const {values} = parseArgs({
  options: {
    networks: {type: 'string', default: [...Object.keys(NETWORKS), ...ARCHITECTURES].join()},
    batches: {type: 'string', default: '1,8,32,128'},
    tune: {type: 'boolean', default: false},
    tuned: {type: 'string'},
    out: {type: 'string'},
  },
});
const adapter = await useNodeWebGPU({
  flags: EXACT_TIMESTAMPS,
});
const backend = tf.backend() as WebGPUBackend;
const {device} = backend;
if (values.tuned !== undefined) await readTuned(values.tuned);
const clock = new GpuClock(device);

interface Row {
  readonly network: string;
  readonly batch: number;
  readonly block: string;
  readonly input: readonly number[];
  readonly count: number;
  readonly plan: string;
  readonly planMicroseconds: number;
  readonly opsMicroseconds: number;
}

const ms = (microseconds: number): string => (microseconds / 1000).toFixed(3);

async function measure(network: string, blocks: readonly NetworkBlock[], batch: number): Promise<Row[]> {
  const shaped = blocks.map((one) => ({...one, input: atBatch(one.input, batch)}));
  const plansNow = (): ReturnType<typeof planFor>[] =>
    shaped.map(({block, input}) => planFor(backend, block, input));
  if (values.tune) {
    const sequence = plansNow().flatMap((plan, at) => Array<typeof plan>(shaped[at]?.count ?? 1).fill(plan));
    await tunePlans(backend, sequence, {device: {...H200, limits: limitsOf(device)}});
  }
  const pipelines = new PipelineCache(device);
  const plans = plansNow();
  await pipelines.prepare(plans.flatMap(({dispatches}) => dispatches));
  const rows: Row[] = [];
  for (const [i, plan] of plans.entries()) {
    const {name, block, count} = shaped[i] as NetworkBlock;
    const timing = await timeBlock(backend, plan, pipelines, clock);
    if (!timing) {
      console.log(`${network} b${batch} ${name}: cannot be timed`);
      continue;
    }
    tunedOf(device).setTiming(block, plan.input, timing);
    const {planMicroseconds: own, opsMicroseconds: ops} = timing;
    console.log(
      `${network} b${batch} ${block.kind} ${name} [${plan.input.join(', ')}] ×${count}: planned ${own.toFixed(1)} us, ops ${ops.toFixed(1)} us, ratio ${(ops / own).toFixed(2)}${own > ops ? '  LOSS' : ''}`,
    );
    rows.push({
      network,
      batch,
      block: `${block.kind} ${name}`,
      input: plan.input,
      count,
      plan: plan.name,
      ...timing,
    });
  }
  const sum = (of: (row: Row) => number): number => rows.reduce((all, row) => all + row.count * of(row), 0);
  const [own, ops] = [sum((row) => row.planMicroseconds), sum((row) => row.opsMicroseconds)];
  console.log(`== ${network} batch ${batch}: blocks planned ${ms(own)} ms, as ops ${ms(ops)} ms, ratio ${(ops / own).toFixed(2)}`); // prettier-ignore
  return rows;
}

console.log(JSON.stringify({adapter, timer: clock.timer}));
const rows: Row[] = [];
for (const network of values.networks.split(',')) {
  const blocks = await blocksOf(network);
  for (const batch of values.batches.split(',').map(Number))
    rows.push(...(await measure(network, blocks, batch)));
}
const losses = rows.filter(({planMicroseconds, opsMicroseconds}) => planMicroseconds > opsMicroseconds);
console.log(`\n${losses.length} of ${rows.length} blocks are slower than their ops`);
for (const {network, batch, block, input, plan, planMicroseconds: own, opsMicroseconds: ops} of losses)
  console.log(`  ${network} b${batch} ${block} [${input.join(', ')}]: ${own.toFixed(1)} against ${ops.toFixed(1)} us (${plan})`); // prettier-ignore
if (values.tuned !== undefined && values.tune) await writeTuned(values.tuned);
if (values.out)
  writeFileSync(
    values.out,
    JSON.stringify({adapter, timer: clock.timer, versions: process.versions, rows}, null, 1),
  );
adapter.dispose();
process.exit(0);
