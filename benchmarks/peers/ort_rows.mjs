/**
 * onnxruntime-node's milliseconds for one network, wall clock with read-back, a row of JSON a line for each batch.
 *
 *   node ort_rows.mjs FILE.onnx --ort=DIR [--batches=1,8] [--size=224] [--runs=30] [--seconds=4] [--provider=webgpu]
 *
 * DIR is a folder with node_modules/onnxruntime-node. A session is made for each batch with that batch as a constant, which lets
 * onnxruntime fold shapes. The input is an array, as it must be there: it takes no tensor that is on the GPU already.
 */
import {createRequire} from 'node:module';
import {join, resolve} from 'node:path';
import {performance} from 'node:perf_hooks';
import {parseArgs} from 'node:util';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    ort: {type: 'string', default: '.'},
    batches: {type: 'string', default: '1,8,32,128'},
    size: {type: 'string', default: '224'},
    runs: {type: 'string', default: '30'},
    seconds: {type: 'string', default: '4'},
    provider: {type: 'string', default: 'webgpu'},
  },
});
const load = createRequire(join(resolve(values.ort), 'package.json'));
const ort = load('onnxruntime-node');
const say = (value) => console.log(JSON.stringify(value));

/** Half a second of warm-up, since an idle GPU is slow; then the median of `runs`, fewer where they take longer than `seconds`. */
async function medianMs(run) {
  const [runs, seconds] = [Number(values.runs), Number(values.seconds)];
  const start = performance.now();
  for (let i = 0; i < 3 || performance.now() - start < 500; i++) await run();
  const times = [];
  const begin = performance.now();
  while (times.length < runs && (times.length < 5 || performance.now() - begin < 1000 * seconds)) {
    const before = performance.now();
    await run();
    times.push(performance.now() - before);
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}

async function row(file, batch) {
  const before = performance.now();
  const session = await ort.InferenceSession.create(file, {
    executionProviders: [values.provider],
    freeDimensionOverrides: {b: batch},
    logSeverityLevel: 3,
  });
  const shape = [batch, 3, Number(values.size), Number(values.size)];
  const data = Float32Array.from({length: shape.reduce((a, b) => a * b)}, Math.random);
  const feeds = {[session.inputNames[0]]: new ort.Tensor('float32', data, shape)};
  const run = async () => {
    const output = (await session.run(feeds))[session.outputNames[0]];
    if (!Number.isFinite(output.data[0])) throw new Error(`The output begins with ${output.data[0]}.`);
  };
  await run();
  const firstMs = performance.now() - before; // With what is compiled.
  const wallMs = await medianMs(run);
  await session.release();
  return {batch, wallMs, firstMs};
}

try {
  const {version} = load('onnxruntime-node/package.json');
  say({about: {onnxruntime: version, provider: values.provider}});
  for (const batch of values.batches.split(',').map(Number)) say(await row(positionals[0], batch));
  process.exit(0); // Dawn's threads would keep the process alive.
} catch (error) {
  console.error(String(error?.message ?? error));
  process.exit(1);
}
