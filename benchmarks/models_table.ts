/**
 * Writes docs/models.md's table: what each architecture amounts to, and what `fuse` makes of its graph. Weights play no part, so
 * they are all zero.
 *   node dist/benchmarks/models_table.js [NAME ...]     rewrites the rows of these, or of all
 */
import {readFile, writeFile} from 'node:fs/promises';
import {
  ARCHITECTURES,
  type Architecture,
  blocksOf,
  buildGraphModel,
  describe,
  findArchitecture,
  makeNetwork,
} from '../models/index.js';
import {convert} from '../src/index.js';

const PAGE = new URL('../../docs/models.md', import.meta.url);
const [BEGIN, END] = ['<!-- table -->', '<!-- /table -->'];
const HEADER = [
  '`--arch`',
  'input',
  'parameters',
  'MACs',
  'blocks',
  'fused',
  'dispatches',
  'fused',
  'checkpoints',
];

/** Cells of a row that follow from the description alone. */
export interface Described {
  readonly name: string;
  readonly size: string;
  readonly parameters: string;
  readonly macs: string;
  readonly blocks: string;
  readonly sources: string;
}

/** Cells of what `fuse` makes of the graph. */
export interface Fused {
  /** Blocks that became one op each. */
  readonly fused: string;
  readonly before: string;
  readonly after: string;
}

export type Row = Described & Fused;

export function describeRow(architecture: Architecture): Described {
  const {name, size, parameters, macs, sources} = describe(architecture);
  return {
    name,
    size: String(size),
    parameters: `${(parameters / 1e6).toFixed(2)} M`,
    macs: `${(macs / 1e9).toFixed(macs < 1e10 ? 3 : 1)} G`,
    blocks: String(blocksOf(makeNetwork(architecture)).length),
    sources: sources.join(', '),
  };
}

export async function fuseRow(architecture: Architecture): Promise<Fused> {
  const network = makeNetwork(architecture);
  const artifacts = await buildGraphModel(
    network,
    ({shape}) => new Float32Array(shape.reduce((a, b) => a * b, 1)),
  );
  const {report} = convert(artifacts);
  const whole = new Set(report.blocks.map(({at}) => at));
  return {
    fused: String(blocksOf(network).filter(({name}) => whole.has(name)).length),
    before: String(report.dispatches.before),
    after: String(report.dispatches.after),
  };
}

/** The rows that stand on the page, by name. */
export async function readTable(): Promise<ReadonlyMap<string, Row>> {
  const table = (await readFile(PAGE, 'utf8')).split(BEGIN)[1]?.split(END)[0] ?? '';
  const rows = [...table.matchAll(/^\| `(\w+)` .*$/gm)].map(([line, name = '']): [string, Row] => {
    const [
      ,
      ,
      size = '',
      parameters = '',
      macs = '',
      blocks = '',
      fused = '',
      before = '',
      after = '',
      sources = '',
    ] = line.split('|').map((cell) => cell.trim());
    return [name, {name, size, parameters, macs, blocks, fused, before, after, sources}];
  });
  return new Map(rows);
}

function lineOf({name, size, parameters, macs, blocks, fused, before, after, sources}: Row): string {
  return `| ${[`\`${name}\``, size, parameters, macs, blocks, fused, before, after, sources].join(' | ')} |`;
}

async function writeTable(rows: ReadonlyMap<string, Row>): Promise<void> {
  const page = await readFile(PAGE, 'utf8');
  const [before = '', rest = ''] = page.split(BEGIN);
  const ordered = ARCHITECTURES.flatMap(({name}) => rows.get(name) ?? []);
  const lines = [`| ${HEADER.join(' | ')} |`, `|---|${'--:|'.repeat(7)}---|`, ...ordered.map(lineOf)];
  await writeFile(PAGE, `${before}${BEGIN}\n\n${lines.join('\n')}\n\n${END}${rest.split(END)[1] ?? ''}`);
}

async function main(names: readonly string[]): Promise<void> {
  const rows = new Map(await readTable());
  for (const architecture of names.length > 0 ? names.map(findArchitecture) : ARCHITECTURES) {
    const row = {...describeRow(architecture), ...(await fuseRow(architecture))};
    process.stderr.write(`${lineOf(row)}\n`);
    rows.set(row.name, row);
    await writeTable(rows);
  }
}

if (process.argv[1]?.endsWith('models_table.js')) await main(process.argv.slice(2));
