/**
 * Random models in random spellings, some damaged: fused equals op by op, what is whole is fused, what is damaged is left alone.
 * Here a few fixed seeds run; `npm run fuzz -- --seed N --count M` runs more.
 */
import {onBackend} from '../../support/environment.js';
import {DAMAGES} from './blocks.js';
import {makeModel, runCase} from './run_case.js';

const SEEDS = Array.from({length: 90}, (_, i) => 1 + i);

onBackend('cpu', 'fuzz', () => {
  it('meets every damage, and whole models', () => {
    const met = SEEDS.map((seed) => makeModel(seed).damages);
    expect([...new Set(met.flat())].sort()).toEqual([...DAMAGES].sort());
    expect(met.filter(({length}) => length === 0).length).toBeGreaterThan(10);
  });

  it('gives the same model for the same seed', () => {
    expect(makeModel(7).artifacts).toEqual(makeModel(7).artifacts);
    expect(makeModel(7).artifacts).not.toEqual(makeModel(8).artifacts);
  });

  for (const seed of SEEDS) {
    it(`seed ${seed}`, async () => {
      expect(await runCase(seed)).toBeUndefined();
    });
  }
});
