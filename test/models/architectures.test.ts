/** The tables against what their publishers print. */
import {
  ARCHITECTURES,
  ArchitectureError,
  describe as describeArchitecture,
  findArchitecture,
  makeNetwork,
  tensorsOf,
} from '../../models/index.js';
import {nameTensors} from '../../models/naming/naming.js';
import {PUBLISHED} from './published.js';

const MACS_TOLERANCE = 0.005;

/** Half a unit in the last place that is printed: of short numbers that is the larger part. */
const roundingOf = (printed: string): number => 0.5 * 10 ** -(printed.split('.')[1]?.length ?? 0);

/** Table 3 of the ConvFirst paper; see benchmarks/conv_first_search.ts. */
const CONV_FIRST = {
  convfirst_pico: [5.9, 0.859],
  convfirst_nano: [10.2, 1.81],
  convfirst_tiny: [17.2, 3.227],
  convfirst_small: [28.6, 5.495],
} as const;

describe('architectures', () => {
  for (const architecture of ARCHITECTURES) {
    const {name} = architecture;
    const published = PUBLISHED[name];
    if (published) {
      it(`have the parameters and MACs that are published: ${name}`, () => {
        const {parameters, macs} = describeArchitecture(architecture);
        expect(parameters).toBe(published.parameters);
        if (published.macs === undefined) return;
        const printed = Number(published.macs);
        const tolerance = Math.max(MACS_TOLERANCE * printed, roundingOf(published.macs));
        expect(Math.abs(macs / 1e9 - printed)).toBeLessThan(tolerance);
      });
    }

    it(`have a name for every tensor, and none twice: ${name}`, () => {
      for (const source of architecture.sources) {
        const network = makeNetwork(architecture, {from: source});
        const names = nameTensors(source.naming, network, tensorsOf(network)).map((named) => named.names[0]);
        expect(new Set(names).size).withContext(source.name).toBe(names.length);
      }
    });
  }

  for (const [name, [parameters, macs]] of Object.entries(CONV_FIRST)) {
    it(`are within 2 % of the paper: ${name}`, () => {
      const found = describeArchitecture(findArchitecture(name));
      expect(Math.abs(found.parameters / 1e6 / parameters - 1)).toBeLessThan(0.02);
      expect(Math.abs(found.macs / 1e9 / macs - 1)).toBeLessThan(0.02);
    });
  }

  it('are all published but ConvFirst', () => {
    const unpublished = ARCHITECTURES.filter(({name}) => !PUBLISHED[name]).map(({name}) => name);
    expect(unpublished).toEqual(Object.keys(CONV_FIRST));
  });

  it('have names of their own', () => {
    expect(new Set(ARCHITECTURES.map(({name}) => name)).size).toBe(ARCHITECTURES.length);
    expect(() => findArchitecture('convnext_tinny')).toThrowError(
      ArchitectureError,
      /did you mean one of .*convnext_tiny/,
    );
    expect(() => makeNetwork(findArchitecture('resnet18'), {classes: 2.5})).toThrowError(
      ArchitectureError,
      /2.5 is no number/,
    );
  });
});
