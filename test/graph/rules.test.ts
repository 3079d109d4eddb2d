/** One case a rule at least: a block spelled so that the rule is needed, whose fused form must give the same values. */
import type * as tf from '@tensorflow/tfjs-core';
import {canonicalise} from '../../src/graph/canonical.js';
import {importGraph} from '../../src/graph/import.js';
import {infer} from '../../src/graph/infer.js';
import {Overlay} from '../../src/graph/overlay.js';
import {PHASES} from '../../src/graph/rules/index.js';
import {expectSame} from '../support/compare_models.js';
import {onBackend} from '../support/environment.js';
import type {RuleCase} from '../support/spelled_blocks.js';
import {TestGraph} from '../support/test_graph.js';
import {COMPOSITION_CASES} from './composition_cases.js';
import {HEAD_CASES} from './head_cases.js';
import {JOIN_CASES} from './join_cases.js';
import {NORM_CASES} from './norm_cases.js';
import {POOL_CASES} from './pool_cases.js';
import {REARRANGED_CASES} from './rearranged_cases.js';
import {SPELLING_CASES} from './spelling_cases.js';

const CASES: readonly RuleCase[] = [
  ...SPELLING_CASES,
  ...COMPOSITION_CASES,
  ...NORM_CASES,
  ...JOIN_CASES,
  ...POOL_CASES,
  ...REARRANGED_CASES,
  ...HEAD_CASES,
];

function artifactsOf(build: RuleCase['build']): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', [-1, 6, 6, 8]);
  return g.artifacts([build(g)]);
}

function appliedRules(build: RuleCase['build']): ReadonlySet<string> {
  const graph = importGraph(artifactsOf(build));
  const applied = new Set<string>();
  canonicalise(new Overlay(graph, infer(graph), new Set()), (rule) => applied.add(rule));
  return applied;
}

onBackend('cpu', 'rules', () => {
  it('each has a case', () => {
    const covered = new Set(CASES.map(({rule}) => rule));
    expect(
      PHASES.flat()
        .filter(({name}) => !covered.has(name))
        .map(({name}) => name),
    ).toEqual([]);
  });

  for (const {rule, how, build, oracle = build, blocks = ['BlockMBConv']} of CASES) {
    it(how === undefined ? rule : `${rule}: ${how}`, async () => {
      expect(appliedRules(build)).toContain(rule);
      const artifacts = artifactsOf(build);
      const comparison = {feed: {x: [2, 6, 6, 8]}, scale: 3, oracle: artifactsOf(oracle)};
      const report = await expectSame(artifacts, comparison);
      expect(report.blocks.map(({block}) => block)).toEqual([...blocks]);
    });
  }
});
