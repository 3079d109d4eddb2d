/**
 * Ours beside LiteRT.js (and stock TF.js) in one page of Chromium, on one GPU device, in float32.
 *
 *   npm run bench -- litert [--networks=mobilenetv2,convnext_tiny,efficientnet_b0] [--batches=1,32] [--size=224] [--runs=30]
 *     [--engines=read-back,fused,litert,replay,stock] [--submitted=30] [--seconds=4] [--litert=DIR] [--tflite=DIR] [--jspi]
 *     [--chromium=COMMAND] [--adapter=TEXT] [--out=FILE] [--bundle]
 *
 * --litert: a folder with node_modules/@litertjs/core; --tflite: one with the files of peers/tflite_files.py, NAME_SIZE_BATCH.tflite. single is
 * the median of single predictions with read-back, pipelined a prediction's share of --submitted ones of which the last is read; inputs
 * are on the GPU. --adapter, --chromium and --bundle as in capture_equality.js. FILE has each row as soon as it is there.
 */
import {existsSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {loadArtifacts} from './capture_models.js';
import {bundlePage, runInChromium} from './chromium_page.js';
import type {Engine, LiteRtRow, LiteRtTask} from './litert_page.js';
import {milliseconds} from './peer_table.js';

const SCRIPT = 'litert_page';
const ENGINES: readonly Engine[] = ['read-back', 'fused', 'litert', 'replay', 'stock'];
const {values: options} = parseArgs({
  options: {
    networks: {type: 'string', default: 'mobilenetv2,convnext_tiny,efficientnet_b0'},
    batches: {type: 'string', default: '1,32'},
    engines: {type: 'string', default: ENGINES.join()},
    size: {type: 'string', default: '224'},
    runs: {type: 'string', default: '30'},
    submitted: {type: 'string', default: '30'},
    seconds: {type: 'string', default: '4'},
    litert: {type: 'string', default: '.'},
    tflite: {type: 'string', default: fileURLToPath(new URL('../tflite', import.meta.url))}, // dist/tflite
    jspi: {type: 'boolean', default: false},
    chromium: {type: 'string'},
    adapter: {type: 'string', default: ''},
    out: {type: 'string'},
    bundle: {type: 'boolean', default: false},
  },
});

const models = options.networks.split(',');
const task: LiteRtTask = {
  models,
  engines: options.engines.split(',').map((name): Engine => {
    const engine = ENGINES.find((known) => known === name);
    if (!engine) throw new Error(`--engines takes ${ENGINES.join()}, not '${name}'.`);
    return engine;
  }),
  batches: options.batches.split(',').map(Number),
  size: Number(options.size),
  runs: Number(options.runs),
  submitted: Number(options.submitted),
  seconds: Number(options.seconds),
  jspi: options.jspi,
  wantedAdapter: options.adapter,
};
const packages = join(resolve(options.litert), 'node_modules/@litertjs');
const rows: LiteRtRow[] = [];

function warnOfMissing(): void {
  if (!task.engines.includes('litert')) return;
  if (!existsSync(join(packages, 'core')))
    console.error(
      `\n*** LiteRT.js is not in ${packages}: its rows will fail. 'npm install --no-save @litertjs/core@2.5.3' here, or ` +
        'elsewhere and name that folder by --litert=DIR.\n',
    );
  const files = models.flatMap((name) => task.batches.map((batch) => `${name}_${task.size}_${batch}.tflite`));
  const missing = files.filter((file) => !existsSync(join(options.tflite, file)));
  if (missing.length > 0)
    console.error(
      `\n*** ${missing.join(', ')} missing in ${options.tflite}: pip install tensorflow, then python3 ` +
        `benchmarks/peers/tflite_files.py ${models.join(' ')} --batches ${options.batches} --size ${options.size} --out ${options.tflite}\n`,
    );
}

function onRow(row: LiteRtRow): void {
  rows.push(row);
  console.error(JSON.stringify(row));
  if (options.out === undefined) return;
  const core = join(packages, 'core/package.json');
  const {version = 'none'} = existsSync(core)
    ? (JSON.parse(readFileSync(core, 'utf8')) as {version?: string})
    : {};
  const results = {at: new Date().toISOString(), task, 'litertjs/core': version, rows};
  writeFileSync(`${options.out}.part`, `${JSON.stringify(results, null, 1)}\n`);
  renameSync(`${options.out}.part`, options.out);
}

const shown = (row: LiteRtRow | undefined): string => {
  if (!row || row.singleMs === undefined || row.pipelinedMs === undefined) return 'n/a';
  const {dispatches, callMs} = row;
  const call = dispatches && callMs !== undefined ? ` (${((1000 * callMs) / dispatches).toFixed(2)} µs)` : '';
  return `${milliseconds(row.singleMs)} / ${milliseconds(row.pipelinedMs)}${call}`;
};

function printTable(): void {
  console.log(
    'Milliseconds, single with read-back / pipelined (encoding and submitting, a dispatch), in float32.',
  );
  const places = models.flatMap((network) => task.batches.map((batch) => ({network, batch})));
  console.table(
    places.map(({network, batch}) => {
      const own = rows.filter((row) => row.network === network && row.batch === batch);
      const cells = task.engines.map((name) => [name, shown(own.find(({engine}) => engine === name))]);
      return {network, batch, ...(Object.fromEntries(cells) as Record<string, string>)};
    }),
  );
  for (const {network, batch, engine, error} of rows)
    if (error !== undefined) console.log(`n/a ${network} ${batch} ${engine}: ${error}`);
}

async function main(): Promise<void> {
  await bundlePage(SCRIPT);
  if (options.bundle) return;
  warnOfMissing();
  const page = {
    ...{script: SCRIPT, task, models},
    folders: {'/litert/': packages, '/tflite/': resolve(options.tflite)},
    imports: {
      '@litertjs/core': '/litert/core/dist/index.js',
      '@litertjs/wasm-utils': '/litert/wasm-utils/dist/index.js',
    },
  };
  const load = (name: string) => loadArtifacts(name, task.size);
  const say = (line: string): void => console.error(line);
  try {
    await runInChromium<LiteRtRow>(page, {load, command: options.chromium, say, onRow});
  } finally {
    printTable();
  }
}

await main();
process.exit(0);
