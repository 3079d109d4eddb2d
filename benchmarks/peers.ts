/**
 * Ours beside TensorFlow.js, onnxruntime-node on WebGPU and PyTorch, in one run on one machine.
 *
 *   npm run bench -- peers [--networks=NAME,…] [--batches=1,8,32,128] [--parts=ours,torch,ort] [--size=224] [--runs=30]
 *     [--seconds=4] [--limit=240] [--out=FILE] [--python=python3] [--ort=DIR] [--onnx=DIR] [--graphs-only] [--compile] [--commit=TEXT]
 *   npm run bench -- peers --join=FILE,FILE     one table of several runs' files
 *
 * NAME: an architecture of models/, all eight of the comparison unless given. A network's parts run right behind one another, each in a
 * process of its own. A median ends after --seconds; a part that gives no row for --limit seconds loses that row. What is not installed is said
 * first and is 'n/a' in the table. --graphs-only leaves PyTorch's eager mode out. FILE has every row as soon as it is there. --parts may name f16, too: ours fused in half
 * precision. --torch-device=cpu and --ort-provider=cpu try the scripts out without a GPU; --scripts is where the peers' scripts are.
 */
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {about, type About, writeResults} from './about.js';
import {COMPARED_NETWORKS} from './networks.js';
import {type Part, partOf, type PartName, PARTS} from './peer_parts.js';
import {type Outcome, runBatches, stopRunning, type Values} from './peer_process.js';
import {type PeerRow, peerTable} from './peer_table.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url)); // From dist/benchmarks.

const {values: options} = parseArgs({
  options: {
    networks: {type: 'string', default: COMPARED_NETWORKS.join()},
    batches: {type: 'string', default: '1,8,32,128'},
    parts: {type: 'string', default: 'ours,torch,ort'},
    size: {type: 'string', default: '224'},
    runs: {type: 'string', default: '30'},
    seconds: {type: 'string', default: '4'},
    limit: {type: 'string', default: '240'},
    out: {type: 'string'},
    join: {type: 'string'},
    python: {type: 'string', default: 'python3'},
    'graphs-only': {type: 'boolean', default: false},
    compile: {type: 'boolean', default: false},
    ort: {type: 'string', default: '.'},
    onnx: {type: 'string', default: here('../onnx')},
    scripts: {type: 'string', default: here('../../benchmarks/peers')},
    'torch-device': {type: 'string', default: 'cuda'},
    'ort-provider': {type: 'string', default: 'webgpu'},
    commit: {type: 'string'},
  },
});

interface Results extends About {
  readonly settings: Values;
  /** What each part says of its device and versions. */
  readonly parts: Partial<Record<PartName, Values>>;
  readonly missing: readonly string[];
  readonly rows: readonly PeerRow[];
}

function names(): PartName[] {
  return options.parts.split(',').map((name): PartName => {
    const part = PARTS.find((known) => known === name);
    if (!part) throw new Error(`--parts takes ${PARTS.join()}, not '${name}'.`);
    return part;
  });
}

function write(results: Results): void {
  if (options.out !== undefined) writeResults(options.out, results);
}

function withOutcome(rows: readonly PeerRow[], network: string, part: PartName, outcome: Outcome): PeerRow[] {
  return rows.map((row) => {
    if (row.network !== network || row.batch !== outcome.batch) return row;
    const {values, failure} = outcome;
    return {
      ...row,
      values: values ? {...row.values, [part]: values} : row.values,
      failures: failure === undefined ? row.failures : {...row.failures, [part]: failure},
    };
  });
}

/** The row with a reason for each part that has not answered. */
function withoutGaps(row: PeerRow, parts: readonly PartName[], reason: string): PeerRow {
  const open = parts.filter((part) => !row.values[part] && row.failures[part] === undefined);
  return {...row, failures: {...row.failures, ...Object.fromEntries(open.map((part) => [part, reason]))}};
}

async function compare(parts: ReadonlyMap<PartName, Part>, begin: Results): Promise<void> {
  const batches = options.batches.split(',').map(Number);
  let results = begin;
  const update = (change: Partial<Results>): void => write((results = {...results, ...change}));
  const finish = (): void => console.log(peerTable(results.rows));
  const start = performance.now();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      stopRunning();
      update({rows: results.rows.map((row) => withoutGaps(row, [...parts.keys()], `stopped by ${signal}`))});
      finish();
      process.exit(130);
    });
  for (const network of options.networks.split(',')) {
    update({
      rows: [...results.rows, ...batches.map((batch) => ({network, batch, values: {}, failures: {}}))],
    });
    for (const [name, part] of parts) {
      const onOutcome = (outcome: Outcome): void => {
        update({rows: withOutcome(results.rows, network, name, outcome)});
        console.error(`${Math.round((performance.now() - start) / 1000)} s: ${network} ${outcome.batch} ${name}: ${outcome.failure ?? JSON.stringify(outcome.values)}`);
      }; // prettier-ignore
      const first = part.prepare(network, batches);
      if ('missing' in first) {
        for (const batch of batches) onOutcome({batch, failure: first.missing});
        continue;
      }
      await runBatches({
        batches,
        limitSeconds: Number(options.limit),
        command: (left) => {
          const command = part.prepare(network, left);
          if ('missing' in command) throw new Error(command.missing); // It was there for all batches.
          return command;
        },
        onAbout: (about) => update({parts: {...results.parts, [name]: about}}),
        onOutcome,
      });
    }
  }
  finish();
}

function printJoined(files: readonly string[]): void {
  const all = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Results);
  all.forEach(({at, commit: made, machine: {gpuAndDriver = ''}}, i) =>
    console.log(`${files[i] ?? ''}: ${at}, ${gpuAndDriver}, commit ${made}`),
  );
  console.log(peerTable(all.flatMap(({rows}) => rows)));
}

async function main(): Promise<void> {
  if (options.join !== undefined) return printJoined(options.join.split(','));
  const {size, runs, seconds, compile} = options;
  const {python, ort, onnx, scripts, 'torch-device': torchDevice, 'ort-provider': ortProvider, 'graphs-only': graphsOnly} = options; // prettier-ignore
  const numbers = {size: Number(size), runs: Number(runs), seconds: Number(seconds)};
  const partOptions = {...numbers, python, torchDevice, graphsOnly, compile, ort, ortProvider, onnx, scripts};
  const parts = new Map(names().map((name) => [name, partOf(name, partOptions)]));
  const missing = [...parts.values()].flatMap((part) => part.missing ?? []);
  for (const text of missing) console.error(`\n*** ${text}\n`);
  await compare(parts, {
    ...about(options.commit),
    settings: {...numbers, torchDevice, ortProvider},
    parts: {},
    missing,
    rows: [],
  });
}

await main();
