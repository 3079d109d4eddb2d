/**
 * Writes docs/models.md's table: what each architecture amounts to, and what `fuse` makes of its graph. Weights play no part, so
 * they are all zero.
 *   node dist/benchmarks/models_table.js        rewrites the table between its markers
 */
import {readFile, writeFile} from 'node:fs/promises';
import {
  ARCHITECTURES,
  type Architecture,
  blocksOf,
  buildGraphModel,
  describe,
  makeNetwork,
} from '../models/index.js';
import {convert} from '../src/index.js';

const PAGE = new URL('../../docs/models.md', import.meta.url);
const [BEGIN, END] = ['<!-- table -->', '<!-- /table -->'];
const HEADER = [
  '| `--arch` | input | parameters | MACs | blocks | fused | dispatches | fused | checkpoints |',
  '|---|--:|--:|--:|--:|--:|--:|--:|---|',
];

async function rowOf(architecture: Architecture): Promise<string> {
  const {name, size, parameters, macs, sources} = describe(architecture);
  const network = makeNetwork(architecture);
  const blocks = blocksOf(network);
  const zeros = (shape: readonly number[]): Float32Array =>
    new Float32Array(shape.reduce((a, b) => a * b, 1));
  const artifacts = await buildGraphModel(network, ({shape}) => zeros(shape));
  const {report} = convert(artifacts);
  const {before, after} = report.dispatches;
  const whole = new Set(report.blocks.map(({at}) => at));
  const fused = blocks.filter(({name: block}) => whole.has(block)).length;
  const cells = [
    `\`${name}\``,
    size,
    `${(parameters / 1e6).toFixed(2)} M`,
    `${(macs / 1e9).toFixed(macs < 1e10 ? 3 : 1)} G`,
    blocks.length,
    fused,
    before,
    after,
    sources.join(', '),
  ];
  return `| ${cells.join(' | ')} |`;
}

const rows: string[] = [];
for (const architecture of ARCHITECTURES) {
  const row = await rowOf(architecture);
  process.stderr.write(`${row}\n`);
  rows.push(row);
}
const page = await readFile(PAGE, 'utf8');
const [before = '', rest = ''] = page.split(BEGIN);
const after = rest.split(END)[1] ?? '';
await writeFile(PAGE, `${before}${BEGIN}\n\n${[...HEADER, ...rows].join('\n')}\n\n${END}${after}`);
