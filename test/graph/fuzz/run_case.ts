/**
 * One random model: blocks in random spellings, some damaged, fused and compared with itself op by op in float32. A seed is a
 * case; the same seed gives the same model.
 */
import {type GraphModel, loadGraphModel} from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {fuse} from '../../../src/fuse.js';
import type {FusedModel} from '../../../src/fused_model.js';
import {isFetchable, type Report} from '../../../src/graph/index.js';
import {quietly} from '../../support/compare_models.js';
import {worstError} from '../../support/expect_close.js';
import {seededTensors} from '../../support/random.js';
import {DAMAGES, damaged, whole, type Damage, type Made} from './blocks.js';
import {head} from './heads.js';
import {type MapValue, Speller} from './speller.js';

export interface FuzzModel {
  readonly artifacts: tf.io.ModelArtifacts;
  readonly input: readonly number[];
  readonly untouchable: readonly string[];
  readonly damages: readonly Damage[];
  readonly blocks: number;
  /** Ops that may stay: those between blocks, and identities, which run nothing. */
  readonly others: number;
  readonly tolerance: number;
  /** It has control flow. */
  readonly isDynamic: boolean;
}

export function makeModel(seed: number): FuzzModel {
  const s = new Speller(seed);
  const [h, w, c] = [s.between(4, 9), s.between(4, 9), s.pick([4, 8])];
  s.graph.input('x', [-1, h, w, c]);
  let x: MapValue = {name: 'x', h, w, c};
  const made: Made[] = [];
  const damages: Damage[] = [];
  for (let count = s.between(1, 4); count > 0 && Math.min(x.h, x.w) > 2; count--) {
    const damage = s.chance(0.25) ? s.pick(DAMAGES) : undefined;
    if (damage) damages.push(damage);
    const block = damage ? damaged[damage](s, x) : whole(s, x);
    made.push(block);
    // Sin is no activation: what stands behind it starts anew.
    x = {...block.out, name: s.chance(0.5) ? s.op('Sin', [block.out.name]) : block.out.name};
  }
  const end = s.chance(0.4) ? head(s, x, s.chance(0.2)) : {name: x.name, outputs: []};
  const outputs = [...new Set([end.name, ...end.outputs, ...made.flatMap((block) => block.outputs)])];
  return {
    artifacts: s.graph.artifacts(outputs),
    input: [s.between(1, 2), h, w, c],
    untouchable: made.flatMap(({untouchable}) => untouchable),
    damages,
    blocks: made.length,
    others: made.length + s.others,
    isDynamic: s.isDynamic,
    // Rounding of s.depth sums that norms and batch norms may stretch.
    tolerance: 2 ** -23 * 8 * Math.sqrt(s.depth) * (4 + made.length),
  };
}

/** What is wrong with the case, or undefined. */
export async function runCase(seed: number): Promise<string | undefined> {
  const model = makeModel(seed);
  const original = await loadGraphModel(tf.io.fromMemory(model.artifacts));
  const fused = await fuse(original);
  try {
    return checkReport(model, fused.report) ?? (await compare(model, original, fused));
  } finally {
    original.dispose();
    fused.dispose();
  }
}

function checkReport({untouchable, damages, blocks, others}: FuzzModel, report: Report): string | undefined {
  for (const {nodes, at, block} of report.blocks) {
    const swallowed = untouchable.find((name) => name !== at && nodes.includes(name));
    if (swallowed) return `${block} ${at} swallowed ${swallowed}`;
  }
  if (damages.length > 0) return undefined;
  const {total, fused} = report.depthwise;
  if (fused < total) return `${total - fused} depth-wise left: ${JSON.stringify(report.misses)}`;
  return report.nodes.after > blocks + others
    ? `${report.nodes.after} nodes left of ${blocks} blocks: ${report.toString()}`
    : undefined;
}

async function compare(
  {artifacts, input, tolerance, isDynamic}: FuzzModel,
  original: GraphModel,
  fused: FusedModel,
): Promise<string | undefined> {
  const x = seededTensors(11)(input, 2);
  const {outputs = {}} = artifacts.signature as {outputs?: object}; // As makeModel wrote it.
  const {node} = artifacts.modelTopology as {node: readonly {name: string}[]};
  const known = new Set(node.map(({name}) => name));
  const blocks = fused.report.blocks
    .filter((block) => isFetchable(block) && known.has(block.at))
    .map(({at}) => at);
  const names = [...new Set([...blocks, ...Object.keys(outputs)])];
  const run = async (model: GraphModel | FusedModel): Promise<tf.Tensor[]> =>
    [isDynamic ? await quietly(() => model.executeAsync({x}, names)) : model.execute({x}, names)].flat();
  const [expected, actual] = [await run(original), await run(fused)];
  try {
    for (const [i, name] of names.entries()) {
      const [want, got] = [await expected[i]?.data(), await actual[i]?.data()];
      if (!want || got?.length !== want.length) return `${name} has another size`;
      const {error, scale} = worstError(got, want);
      if (!(error <= tolerance * scale)) return `${name} is off by ${error / scale}, allowed ${tolerance}`;
    }
    return undefined;
  } finally {
    tf.dispose([x, expected, actual]);
  }
}
