/** Specs as data: their cases fit, near misses say what misses, and stages survive the trip through a graph attribute. */
import {
  ACTIVATION_NAMES,
  type Block,
  BLOCK_SPECS,
  BlockError,
  type BlockSpec,
  checkBlock,
  decodeStages,
  encodeStages,
  type Misfit,
  fitSpec,
  spatialKinds,
  type Stage,
  traceBlock,
} from '../ops/index.js';
import {gateStage, pointwiseStage, residualStage, spatialStage} from '../ops/stages/make.js';

function specOf(kind: string): BlockSpec {
  const found = BLOCK_SPECS.find((spec) => spec.kind === kind);
  if (!found) throw new Error(`There is no ${kind}.`);
  return found;
}

describe('block specs', () => {
  it('have kinds of their own, and cases with names of their own', () => {
    expect(new Set(BLOCK_SPECS.map(({kind}) => kind)).size).toBe(BLOCK_SPECS.length);
    for (const {kind} of BLOCK_SPECS) expect(kind).toMatch(/^Block[A-Z]/);
  });

  for (const spec of BLOCK_SPECS) {
    it(`${spec.kind} takes its own cases`, () => {
      for (const {name, stages, input} of spec.cases)
        expect(() => checkBlock(spec, {kind: spec.kind, stages}, input))
          .withContext(name)
          .not.toThrow();
    });

    it(`${spec.kind} has cases for every activation, for each slot filled and for each optional one empty`, () => {
      const filled = spec.cases.map(({stages}) => new Set(stages.map(({name}) => name)));
      for (const {name, optional} of spec.slots) {
        expect(filled.some((names) => names.has(name)))
          .withContext(name)
          .toBeTrue();
        if (optional)
          expect(filled.some((names) => !names.has(name)))
            .withContext(`no ${name}`)
            .toBeTrue();
      }
      const text = encodeStages(spec.cases.flatMap(({stages}) => stages));
      const hasActivation = spec.slots.some(({op}) => op === 'spatial' || op === 'pointwise');
      for (const fn of hasActivation ? ACTIVATION_NAMES : []) expect(text).toContain(`"fn":"${fn}"`);
    });

    it(`${spec.kind} keeps its stages through text that was lower-cased`, () => {
      for (const {name, stages, input} of spec.cases) {
        const decoded = decodeStages(encodeStages(stages).toLowerCase());
        expect(decoded).withContext(name).toEqual(stages);
        const [before, after] = [stages, decoded].map((list) =>
          traceBlock({kind: spec.kind, stages: list}, input),
        );
        expect(after?.weights).toEqual(before?.weights ?? []);
      }
    });
  }

  it('are decoded once per text, so that caches can hold on to the list', () => {
    const text = encodeStages([pointwiseStage('project', 3)]);
    expect(decodeStages(text)).toBe(decodeStages(text));
  });

  it('write the open end of a clamp as a bound no float32 exceeds', () => {
    const open = pointwiseStage('project', 3, {fn: 'clamp', min: -Infinity, max: Infinity});
    const [back] = decodeStages(encodeStages([open]).toLowerCase());
    const activation = (back as typeof open).activation as {min: number; max: number};
    expect([activation.min, activation.max].map(Math.fround)).toEqual([
      -Math.fround(3.4028235e38),
      Math.fround(3.4028235e38),
    ]);
    expect(() => traceBlock({kind: 'BlockTest', stages: [back as Stage]}, [1, 2, 2, 3])).not.toThrow();
  });

  it('name one kind of convolution, or both where there is one input channel', () => {
    expect(spatialKinds(1, 8)).toEqual(['depthwise']);
    expect(spatialKinds(8, 8)).toEqual(['full']);
    expect(spatialKinds(2, 8)).toEqual(['grouped']);
    expect(spatialKinds(1, 1)).toEqual(['depthwise', 'full']);
  });

  it('order the weights as the stages stand, a shortcut before its add', () => {
    const block: Block = {
      kind: 'BlockBottleneck',
      stages: [
        pointwiseStage('reduce', 4, 'prelu'),
        spatialStage('spatial', {kernel: 3, group: 2, channels: 4, bias: false}),
        gateStage(2, 'prelu'),
        pointwiseStage('expand', 6),
        residualStage([spatialStage('shortcut', {kernel: 1, group: 5, channels: 6})], 'prelu'),
      ],
    };
    expect(
      traceBlock(block, [1, 3, 3, 5]).weights.map(({name, shape}) => `${name} ${shape.join('×')}`),
    ).toEqual([
      'reduceFilter 5×4',
      'reduceBias 4',
      'reduceAlpha 4',
      'spatialFilter 3×3×2×4',
      'gateReduceFilter 4×2',
      'gateExpandFilter 2×4',
      'gateReduceBias 2',
      'gateExpandBias 4',
      'gateAlpha 2',
      'expandFilter 4×6',
      'expandBias 6',
      'shortcutFilter 1×1×5×6',
      'shortcutBias 6',
      'residualAlpha 6',
    ]);
  });
});

const depthwise = spatialStage('spatial', {kernel: 3, group: 1, channels: 8});
const full = spatialStage('spatial', {kernel: 3, group: 8, channels: 8});
const [expand, project] = [pointwiseStage('expand', 8), pointwiseStage('project', 8)];
const shortcut = [pointwiseStage('shortcut', 8)];

/** `[spec, stages, misfit]`, on 8 channels everywhere. */
const MISFITS: readonly (readonly [string, readonly Stage[], Misfit])[] = [
  [
    'BlockMBConv',
    [depthwise],
    {at: 'BlockMBConv', reason: 'too little to fuse', found: 'spatial', needed: 'one of expand, project'},
  ],
  [
    'BlockSeparable',
    [depthwise],
    {at: 'project', reason: 'a stage is missing', found: 'the end of the block', needed: 'pointwise'},
  ],
  [
    'BlockMBConv',
    [expand, project],
    {at: 'spatial', reason: 'a stage is missing', found: 'pointwise', needed: 'spatial'},
  ],
  [
    'BlockMBConv',
    [expand, full, project],
    {at: 'spatial', reason: 'another kind of convolution', found: 'full', needed: 'depthwise or grouped'},
  ],
  [
    'BlockMBConv',
    [depthwise, project, residualStage([], 'relu')],
    {at: 'residual', reason: 'an activation follows the add', found: 'relu', needed: 'linear'},
  ],
  [
    'BlockMBConv',
    [depthwise, project, residualStage(shortcut)],
    {at: 'residual', reason: 'the shortcut has layers', found: 'pointwise', needed: 'identity'},
  ],
  [
    'BlockSeparable',
    [depthwise, project, gateStage(2)],
    {
      at: 'gate',
      reason: 'no place for this stage',
      found: 'gate',
      needed: '[reduce: spatial], spatial: spatial, project: pointwise, [residual: residual]',
    },
  ],
  [
    'BlockFusedMBConv',
    [full, gateStage(2)],
    {
      at: 'BlockFusedMBConv',
      reason: 'too little to fuse',
      found: 'expand, gate',
      needed: 'one of project, residual',
    },
  ],
  [
    'BlockConvNeXt',
    [depthwise, expand, project],
    {at: 'norm', reason: 'a stage is missing', found: 'pointwise', needed: 'layernorm'},
  ],
  [
    'BlockUIB',
    [{...depthwise, activation: {fn: 'relu'}}, expand, depthwise, project],
    {at: 'start', reason: 'another activation', found: 'relu', needed: 'linear'},
  ],
  [
    'BlockUIB',
    [depthwise, expand, depthwise, project],
    {at: 'spatial', reason: 'another activation', found: 'linear', needed: 'an activation'},
  ],
  [
    'BlockUIB',
    [expand, project],
    {at: 'start', reason: 'a stage is missing', found: 'pointwise', needed: 'spatial'},
  ],
  [
    'BlockBasic',
    [full, depthwise],
    {at: 'second', reason: 'another kind of convolution', found: 'depthwise', needed: 'full'},
  ],
];

describe('fitSpec', () => {
  MISFITS.forEach(([kind, stages, misfit], index) => {
    it(`says why ${stages.map(({op}) => op).join(', ')} is no ${kind} (${index})`, () => {
      expect(fitSpec(specOf(kind), stages, () => 8)).toEqual({misfit});
    });
  });

  it('fills the slots in order, leaving out what is absent', () => {
    const fit = fitSpec(specOf('BlockMBConv'), [depthwise, gateStage(2), project], () => 8);
    expect('slots' in fit && fit.slots.map(({name}) => name)).toEqual(['spatial', 'gate', 'project']);
  });

  it('asks for no names, but checkBlock does', () => {
    const spec = specOf('BlockMBConv');
    const stages = [{...expand, name: 'widen'}, depthwise, project];
    expect('slots' in fitSpec(spec, stages, () => 8)).toBeTrue();
    const check = (): void => checkBlock(spec, {kind: spec.kind, stages}, [1, 4, 4, 8]);
    expect(check).toThrowError(
      BlockError,
      /BlockMBConv: a stage is named 'widen'.*\[expand: pointwise\], spatial: spatial/,
    );
  });

  it('sees the channels that enter each stage', () => {
    const spec = specOf('BlockMBConv');
    const through = (hidden: number): Block => ({
      kind: spec.kind,
      stages: [
        pointwiseStage('expand', hidden),
        spatialStage('spatial', {kernel: 3, group: 4, channels: hidden}),
        project,
      ],
    });
    expect(() => checkBlock(spec, through(8), [1, 4, 4, 8])).not.toThrow();
    expect(() => checkBlock(spec, through(4), [1, 4, 4, 8])).toThrowError(
      BlockError,
      /BlockMBConv.spatial: another kind of convolution: found full, needed depthwise or grouped/,
    );
  });
});
