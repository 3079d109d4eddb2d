/** The store of measurements: what it believes of a file, and what it ignores and says so. */
import {candidatesOf, TILE_TABLE, type TiledKernel} from '../kernels/webgpu/candidates.js';
import {lowerWithChoices, problemKey} from '../kernels/webgpu/choices.js';
import {H200} from '../kernels/webgpu/device_model.js';
import {type Estimate, rankTiles} from '../kernels/webgpu/explain.js';
import {lowerBlock} from '../kernels/webgpu/lower.js';
import {stockLimits, tilingFor} from '../kernels/webgpu/tiling.js';
import {type TunedData, TunedPlans, tunedTiling} from '../kernels/webgpu/tuned.js';
import {BLOCK_SPECS} from '../ops/index.js';
import {gateStage, pointwiseStage, spatialStage} from '../ops/stages/make.js';

const adapter = {vendor: 'acme', architecture: 'a1', device: '0x1', description: 'Acme 1, driver 5'};
const problem = {m: 49, n: 32, k: 16, canPart: true};
const key = problemKey('matmul', problem);
const base = tilingFor(stockLimits);
/** A legal tile that the estimate does not choose. */
const other = candidatesOf({kernel: 'matmul', problem}, stockLimits).at(-1) ?? {};

function measured(): TunedPlans {
  const tuned = new TunedPlans(adapter, stockLimits);
  tuned.setTile(key, {tile: other, microseconds: 3});
  return tuned;
}

/** Through text, as a file goes. */
const fileOf = (change: object = {}): unknown =>
  JSON.parse(JSON.stringify({...measured().toJSON(), ...change}));

const loadInto = (data: unknown): {tuned: TunedPlans; outcome: ReturnType<TunedPlans['load']>} => {
  const tuned = new TunedPlans(adapter, stockLimits);
  return {tuned, outcome: tuned.load(data)};
};

describe('tuned plans', () => {
  it('decide the tile of a problem that was measured, and of no other', () => {
    const tiling = tunedTiling(base, measured());
    expect(tiling.matmul(problem)).toEqual(other as never);
    expect(tiling.matmul(problem)).not.toEqual(base.matmul(problem));
    expect(tiling.matmul({...problem, m: 50})).toEqual(base.matmul({...problem, m: 50}));
  });

  it('come back from JSON as they were', () => {
    const {tuned, outcome} = loadInto(fileOf());
    expect(outcome).toEqual({kind: 'loaded', tiles: 1, blocks: 0, refused: []});
    expect(tuned.toJSON()).toEqual(measured().toJSON());
    expect(tunedTiling(base, tuned).matmul(problem)).toEqual(other as never);
  });

  const IGNORED: readonly (readonly [string, unknown, RegExp])[] = [
    ['no object', 'tiles', /no tuned file/],
    ['null', null, /no tuned file/],
    ['another JSON', {model: 'x'}, /no tuned file/],
    ['another format version', fileOf({formatVersion: 99}), /format is version 99/],
    ['another version of the package', fileOf({packageVersion: '0.0.1'}), /version "0.0.1" of the package/],
    [
      'another adapter',
      fileOf({adapter: {...adapter, device: '0x2'}}),
      /its device is "0x2", here it is "0x1"/,
    ],
    [
      'another driver',
      fileOf({adapter: {...adapter, description: 'driver 6'}}),
      /its description is "driver 6"/,
    ],
    ['no adapter', fileOf({adapter: 5}), /damaged/],
    ['tiles that are none', fileOf({tiles: {[key]: {tile: 7, microseconds: 1}}}), /tiles are damaged/],
    [
      'a time that is none',
      fileOf({tiles: {[key]: {tile: other, microseconds: 'fast'}}}),
      /tiles are damaged/,
    ],
    ['blocks that are none', fileOf({blocks: [1]}), /blocks are damaged/],
  ];
  for (const [what, data, reason] of IGNORED) {
    it(`ignore a file with ${what}`, () => {
      const {tuned, outcome} = loadInto(data);
      expect(outcome).toEqual({kind: 'ignored', reason: jasmine.stringMatching(reason)});
      expect(tuned.size).toBe(0);
    });
  }

  const tooLarge = {TILE_M: 256, TILE_N: 256, TILE_K: 16, THREAD_M: 8, THREAD_N: 8, SPLIT_K: 1, PARTS: 1};
  const ILLEGAL: readonly (readonly [string, string, object])[] = [
    ['beyond the limits of the device', key, tooLarge],
    ['no candidate', key, {...other, THREAD_M: 3}],
    ['short of a constant', key, {TILE_M: 64}],
    ['longer by a constant', key, {...other, EXTRA: 1}],
    ['a text', key, {...other, TILE_M: '64'}],
    ['for no kernel', `spell ${key}`, other],
    ['for a problem that is none', 'depthwise {}', other],
    ['for a text that is no problem', 'matmul {', other],
  ];
  for (const [what, at, tile] of ILLEGAL) {
    it(`refuse a tile that is ${what}`, () => {
      const {tuned, outcome} = loadInto(fileOf({tiles: {[at]: {tile, microseconds: 1}}}));
      expect(outcome).toEqual({kind: 'loaded', tiles: 0, blocks: 0, refused: [at]});
      expect(tuned.size).toBe(0);
    });
  }

  it('do not even use an illegal tile that got past the loader', () => {
    const tuned = new TunedPlans(adapter, stockLimits);
    tuned.setTile(key, {tile: tooLarge, microseconds: 1});
    expect(tuned.tileFor('matmul', problem)).toBeUndefined();
    expect(tunedTiling(base, tuned).matmul(problem)).toEqual(base.matmul(problem));
  });

  it('prefer the stock ops of a block only where they were measured to be faster', () => {
    const {kind, cases} = BLOCK_SPECS[0] as (typeof BLOCK_SPECS)[number];
    const {input, stages} = cases[0] as (typeof cases)[number];
    const tuned = new TunedPlans(adapter, stockLimits);
    expect(tuned.prefersOps({kind, stages}, input)).toBe(false);
    tuned.setTiming({kind, stages}, input, {planMicroseconds: 4, opsMicroseconds: 5});
    expect(tuned.prefersOps({kind, stages}, input)).toBe(false);
    tuned.setTiming({kind, stages}, input, {planMicroseconds: 5, opsMicroseconds: 4});
    expect(tuned.prefersOps({kind, stages}, input)).toBe(true);
    const data: TunedData = tuned.toJSON();
    expect(loadInto(data).tuned.prefersOps({kind, stages}, input)).toBe(true);
  });
});

describe('tile candidates', () => {
  const kernels = Object.keys(TILE_TABLE) as TiledKernel[];

  for (const [name, limits] of Object.entries({'stock devices': stockLimits, 'an H200': H200.limits})) {
    it(`have legal workgroups and a finite estimate for every problem of the specs, on ${name}`, () => {
      const device = {...H200, limits};
      const seen = new Set<string>();
      for (const {kind, cases} of BLOCK_SPECS) {
        for (const {input, stages} of cases) {
          const {plan, choices} = lowerWithChoices({kind, stages}, input, tilingFor(limits));
          expect(plan).toEqual(lowerBlock({kind, stages}, input, tilingFor(limits)));
          for (const {kernel, problem: posed, tile} of choices) {
            seen.add(kernel);
            const tiles = candidatesOf({kernel, problem: posed}, limits);
            expect(tiles).toContain(tile);
            expect(new Set(tiles.map((one) => JSON.stringify(one))).size).toBe(tiles.length);
            const row = TILE_TABLE[kernel] as {estimate: (...args: unknown[]) => number};
            for (const one of tiles) {
              const time = row.estimate(one, posed, {device, cost: {macs: 1000, bytes: 1000}});
              expect(time > 0 && time < Infinity)
                .withContext(`${kernel} ${JSON.stringify(one)}: ${time}`)
                .toBe(true);
            }
          }
        }
      }
      expect([...seen].sort()).toEqual([...kernels].sort());
    });
  }

  it('count no launch for a gate that the product behind it makes', () => {
    const context = {device: H200, cost: {macs: 0, bytes: 0}};
    const stages = [spatialStage('spatial', {kernel: 3, group: 1, channels: 36}), gateStage(9), pointwiseStage('project', 8)]; // prettier-ignore
    const staged = {TILE_M: 32, TILE_N: 32, TILE_K: 16, THREAD_M: 4, THREAD_N: 4, SPLIT_K: 1, PARTS: 1};
    const tiling = {...tilingFor(H200.limits), matmul: () => staged};
    const {choices} = lowerWithChoices({kind: 'BlockMBConv', stages}, [1, 9, 15, 36], tiling);
    const gate = choices.find(({kernel}) => kernel === 'gate');
    if (!gate) throw new Error('The block has a gate.');
    const ranked = rankTiles(gate, context);
    const own = ranked.find(({tile}) => 'IN_PRODUCT' in tile)?.estimate;
    const apart = ranked.find(({tile}) => tile['IS_REDUCED'] === true)?.estimate;
    if (!own || !apart) throw new Error('It can be made both ways.');
    // Besides its own arithmetic each has what the sums in front of it take, and one of them a launch.
    const besides = ({total, arithmetic}: Estimate): number => total - arithmetic;
    expect(besides(apart) - besides(own)).toBeCloseTo(H200.launchMicroseconds, 6);
  });
});
