/** What `block-fusion inspect` tells a person about a model: whole texts, and the advice on each near miss. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import {reportText} from '../src/cli/report_text.js';
import {convert} from '../src/convert/convert.js';
import {adviceOn, type Miss, rewriteArtifacts} from '../src/graph/index.js';
import {readModel} from '../src/node_models.js';
import {TestGraph} from './support/test_graph.js';

/** This file runs from dist/test. */
const FIXTURES = fileURLToPath(new URL('../../test/fixtures', import.meta.url));
/** UPDATE_SNAPSHOTS=1 writes them anew; read the difference before you commit it. */
const SNAPSHOTS = [
  'keras2_regnety',
  'keras_convnext_v2',
  'keras_ssd_mobilenet_v2',
  'nchw_mobile',
  'tf1_mobilenet_v2',
];

describe('inspect', () => {
  for (const name of SNAPSHOTS) {
    it(`${name} as a text`, async () => {
      const artifacts = await readModel(join(FIXTURES, 'converted', name));
      const text = `${reportText(convert(artifacts, {isFile: true}).report)}\n`;
      const file = join(FIXTURES, 'inspect', `${name}.txt`);
      if (process.env['UPDATE_SNAPSHOTS']) writeFileSync(file, text);
      expect(text.split('\n')).toEqual(readFileSync(file, 'utf8').split('\n'));
    });
  }

  it('has every block and every miss in one stage', async () => {
    for (const name of SNAPSHOTS) {
      const {report} = convert(await readModel(join(FIXTURES, 'converted', name)), {isFile: true});
      const parts = report.stages.flatMap((stage) => stage.parts);
      const all = [...report.blocks, ...report.misses].map(({at}) => at);
      expect([...parts].sort()).toEqual([...new Set(all)].sort());
      const resolutions = report.stages.map(({resolution}) => resolution.join());
      expect(resolutions.some((resolution, i) => i > 0 && resolution === resolutions[i - 1])).toBe(false);
    }
  });

  it('counts what a block saves', async () => {
    const {report} = convert(await readModel(join(FIXTURES, 'converted', 'tf1_mobilenet_v2')), {
      isFile: true,
    });
    const saved = report.blocks.reduce(
      (total, {dispatches}) => total + dispatches.before - dispatches.after,
      0,
    );
    expect(saved).toBe(report.dispatches.before - report.dispatches.after);
    for (const {ops, nodes} of report.blocks) {
      const count = Object.values(ops).reduce((a, b) => a + b, 0);
      expect(count).toBeGreaterThan(0);
      expect(count).toBeLessThanOrEqual(nodes.length);
    }
  });
});

/** Depth-wise, something between, project. */
function between(
  spell: (g: TestGraph, x: string) => string,
  outputs: readonly string[] = [],
): tf.io.ModelArtifacts {
  const g = new TestGraph();
  g.input('x', [1, 6, 6, 8]);
  const middle = spell(g, g.depthwise('dw', 'x', 8));
  return g.artifacts([g.pointwise('project', middle, 8, 4), ...outputs]);
}

describe('advice', () => {
  const CASES: readonly {
    readonly reason: Miss['reason'];
    readonly model: tf.io.ModelArtifacts;
    readonly says: RegExp;
  }[] = [
    {
      reason: 'a stage is missing',
      model: between((g, x) => g.op('odd', 'Softplus', [x])),
      says: /directly by a pointwise stage$/,
    },
    {
      reason: 'the value is an output or is kept',
      model: between((_g, x) => x, ['dw']),
      says: /take 'dw' from the outputs/,
    },
    {
      reason: 'the value is used outside the block',
      model: between(
        (g, x) => {
          g.op('other', 'Softplus', [x]);
          return x;
        },
        ['other'],
      ),
      says: /let no one but the next stage need the value \(now 'dw', read by other\)/,
    },
    {
      reason: 'the op is not understood',
      model: between((g, x) => {
        const filter = g.op('doubled', 'Softplus', [g.weight('w', [1, 1, 8, 8])]);
        const attrs = {strides: [1, 1, 1, 1], dilations: [1, 1, 1, 1], padding: 'SAME', data_format: 'NHWC'};
        return g.op('computed', 'Conv2D', [x, filter], attrs);
      }),
      says: /instead of Conv2D with a filter computed by Softplus$/,
    },
  ];
  for (const {reason, model, says} of CASES) {
    it(`on '${reason}'`, () => {
      const miss = rewriteArtifacts(model).report.misses.find((found) => found.reason === reason);
      expect(Object.keys(miss ?? {}).sort()).toEqual(['at', 'block', 'found', 'needed', 'reason']);
      expect(miss && adviceOn(miss)).toMatch(says);
    });
  }
});
