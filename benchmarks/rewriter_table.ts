/**
 * Fills docs/rewriter.md: what the rewriter takes of real models, and each thing it leaves with the reason. Run after a build:
 * `node dist/benchmarks/rewriter_table.js [FOLDER OR model.json ...]`; further models are printed, not written.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import {convert} from '../src/convert/convert.js';
import {blockOf} from '../src/graph/block_node.js';
import {extraDispatches} from '../src/graph/conv_dispatches.js';
import {stockDispatches} from '../src/graph/dispatches.js';
import {importGraph} from '../src/graph/import.js';
import type {Report} from '../src/graph/index.js';
import type {Graph} from '../src/graph/graph.js';
import {infer, type Inference} from '../src/graph/infer.js';
import {readModel} from '../src/node_models.js';
import {efficientNetModel, HUMAN_MODELS, humanModel, nsfwModel} from '../test/support/real_models.js';

const PAGE = fileURLToPath(new URL('../../docs/rewriter.md', import.meta.url));
const ASSUMED = {batch: 1, size: 224} as const;

/** Why an op that runs something stays as it is; the first row that names it counts. */
const REASONS: readonly {readonly ops: RegExp; readonly reason: string}[] = [
  {
    ops: /^(_Fused)?Conv2D$/,
    reason: 'of a squeeze-and-excite whose map no block makes, or in a spelling that is not understood',
  },
  {
    ops: /^(_Fused)?MatMul$/,
    reason: 'a dense layer on vectors: one dispatch of TF.js already, bias and activation in it',
  },
  {
    ops: /^(MaxPool|AvgPool)$/,
    reason:
      'a pool between two blocks: one dispatch in a block as outside, so it is in one only in front of a sum or a join',
  },
  {ops: /^Resize/, reason: 'a resize between maps of two sizes: every pixel is read by blocks of its own'},
  {ops: /^(ConcatV2|Split|SplitV|Pad)$/, reason: 'joins or cuts maps that several ops read'},
  {
    ops: /^(Add|AddV2|Mul|Sub|RealDiv|Relu|Prelu|BiasAdd)$/,
    reason: 'one op on a join or on a map that several ops read, or arithmetic on answers',
  },
  {
    ops: /^(Sigmoid|Softmax|Exp|Sqrt|Reciprocal|SquaredDifference)$/,
    reason: 'arithmetic on answers: small vectors',
  },
  {ops: /./, reason: 'finds and sorts boxes and key points: small vectors, indices, control flow'},
];

interface Row {
  readonly name: string;
  readonly report: Report;
  /** Dispatches behind the rewrite by op; blocks under one name. */
  readonly left: ReadonlyMap<string, number>;
}

function measure(name: string, original: tf.io.ModelArtifacts): Row {
  const {artifacts, report} = convert(original);
  const main = importGraph(artifacts);
  const nominal = infer(main, {assume: ASSUMED});
  const left = new Map<string, number>();
  const count = ({nodes}: Graph, inference: Inference): void => {
    for (const node of nodes.values()) {
      const own = blockOf(node) ? 0 : stockDispatches(node, inference) + extraDispatches(node, inference);
      if (own > 0) left.set(node.op, (left.get(node.op) ?? 0) + own);
    }
  };
  count(main, nominal);
  for (const [of, body] of main.functions ?? [])
    count(body, infer(body, {assume: ASSUMED, args: nominal.given(of)}));
  const others = [...left.values()].reduce((a, b) => a + b, 0);
  return {name, report, left: new Map([['blocks', report.dispatches.after - others], ...left])};
}

const share = ({fused, total}: {fused: number; total: number}): string =>
  total === 0 ? 'none' : `${fused} of ${total}`;
const percent = ({fused, total}: {fused: number; total: number}): string =>
  total === 0 ? '–' : `${((100 * fused) / total).toFixed(1)} %`;

function summary({name, report}: Row): string {
  const {depthwise, macs, dispatches, nodes, blocks} = report;
  const cells = [
    name,
    String(blocks.length),
    `${nodes.before} → ${nodes.after}`,
    share(depthwise),
    percent(macs),
    `${dispatches.before} → ${dispatches.after}`,
    (dispatches.before / Math.max(1, dispatches.after)).toFixed(1),
  ];
  return `| ${cells.join(' | ')} |`;
}

const CONVOLUTION = /(^|_)(Fused)?(DepthwiseConv2d|Conv2D|MatMul|BatchMatMul)/;

/** Why a model keeps more than a third of its dispatches, in numbers. */
function aboveThird({report, left}: Row): readonly string[] {
  const {before, after} = report.dispatches;
  if (3 * after <= before) return [];
  const inBlocks = report.blocks.flatMap(({ops}) => Object.entries(ops));
  const convolutions = inBlocks
    .filter(([op]) => CONVOLUTION.test(op))
    .reduce((sum, [, count]) => sum + count, 0);
  const own = left.get('blocks') ?? 0;
  return [
    `- more than a third: blocks take ${own}, for ${convolutions} convolutions and dense layers in them; ` +
      `${after - own} stay outside`,
  ];
}

/** What runs besides blocks, and each convolution that is in none, or alone though it nearly was in a larger one. */
function exceptions({name, report, left}: Row): string {
  const others = [...left].filter(([op]) => op !== 'blocks');
  const lines = [`### ${name}`, '', `- ${left.get('blocks') ?? 0} dispatches in blocks`];
  lines.push(...aboveThird({name, report, left}));
  for (const {ops, reason} of REASONS) {
    const fitting = others.filter(([op]) => REASONS.find((row) => row.ops.test(op))?.ops === ops);
    if (fitting.length === 0) continue;
    const total = fitting.reduce((sum, [, count]) => sum + count, 0);
    lines.push(`- ${total}: ${fitting.map(([op, count]) => `${count} \`${op}\``).join(', ')}: ${reason}`);
  }
  for (const {at, block, reason, found, needed} of report.misses)
    lines.push(`- \`${at}\`: ${block}: ${reason}; found ${found}, needed ${needed}`);
  return lines.join('\n');
}

function render(rows: readonly Row[]): string {
  return [
    '| model | blocks | nodes | depth-wise convolutions in blocks | MACs of depth-wise and 1×1 in blocks | dispatches | ratio |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map(summary),
    '',
    '## What is left, and why',
    '',
    rows.map(exceptions).join('\n\n'),
  ].join('\n');
}

const paths = process.argv.slice(2);
if (paths.length > 0) {
  const rows = await Promise.all(paths.map(async (path) => measure(path, await readModel(path))));
  console.log(render(rows));
} else {
  const rows = await Promise.all(HUMAN_MODELS.map(async (name) => measure(name, await humanModel(name))));
  rows.push(measure('efficientnet_b0', efficientNetModel()));
  const nsfw = ['mobilenet_v2', 'mobilenet_v2_mid', 'inception_v3'] as const;
  rows.push(...nsfw.map((name) => measure(`nsfwjs ${name}`, nsfwModel(name))));
  const [head = '', rest = ''] = readFileSync(PAGE, 'utf8').split('<!-- table -->');
  const [, tail = ''] = rest.split('<!-- end -->');
  writeFileSync(PAGE, `${head}<!-- table -->\n\n${render(rows)}\n\n<!-- end -->${tail}`);
}
