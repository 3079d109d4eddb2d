/**
 * Finds stage widths and depths of ConvFirst that give the parameters and MACs the paper prints, and shows how it chose: the paper
 * prints neither. The block forms and the 256-pixel input are held fixed (models/families/conv_first.ts says why); free are the
 * first width, a multiple of the group width of 8, and the four depths. No randomness: the same log every time.
 *   node dist/benchmarks/conv_first_search.js > docs/conv_first_search.log
 */
import {convFirst, GROUP_WIDTH} from '../models/families/conv_first.js';
import {countMacs, countParameters, IMAGENET_CLASSES, type Network, tensorsOf} from '../models/index.js';

interface Target {
  readonly name: string;
  /** Millions, as printed. */
  readonly parameters: number;
  /** Billions, derived from the printed latency and efficiency to three digits. */
  readonly macs: number;
}

const TARGETS: readonly Target[] = [
  {name: 'convfirst_pico', parameters: 5.9, macs: 0.859},
  {name: 'convfirst_nano', parameters: 10.2, macs: 1.81},
  {name: 'convfirst_tiny', parameters: 17.2, macs: 3.227},
  {name: 'convfirst_small', parameters: 28.6, macs: 5.495},
];
const TOLERANCE = 0.02;
const SIZE = 256;
const WIDTHS = Array.from({length: 12}, (_, i) => (i + 3) * GROUP_WIDTH);
const MAX_DEPTHS = [6, 8, 20, 8] as const;
/** Depths of ConvNeXt and of most networks since ResNet: the third stage is the long one. */
const PROPORTIONS = [1, 1, 3, 1] as const;
const SHOWN = 5;

interface Cost {
  readonly parameters: number;
  readonly macs: number;
}

interface Found extends Cost {
  readonly width: number;
  readonly depths: readonly number[];
  /** Larger of the two relative errors. */
  readonly error: number;
  /** How far the depths are from 1:1:3:1, as the mean of |log(depth / proportional)|. */
  readonly skew: number;
}

function costOf(width: number, depths: readonly number[]): Cost {
  const units = convFirst(
    {width, depths, size: SIZE},
    {padding: 'symmetric', epsilon: 1e-5},
    IMAGENET_CLASSES,
  );
  const network: Network = {name: 'convfirst', classes: IMAGENET_CLASSES, size: SIZE, units};
  return {
    parameters: countParameters(tensorsOf(network)) / 1e6,
    macs: countMacs(network, [SIZE, SIZE]) / 1e9,
  };
}

/** Costs are linear in the depths, so five networks a width tell them all. */
function linearCosts(width: number): (depths: readonly number[]) => Cost {
  const base = costOf(width, [1, 1, 1, 1]);
  const steps = [0, 1, 2, 3].map((s) =>
    costOf(
      width,
      [0, 1, 2, 3].map((other) => (other === s ? 2 : 1)),
    ),
  );
  return (depths) => ({
    parameters: depths.reduce(
      (sum, depth, s) => sum + (depth - 1) * ((steps[s]?.parameters ?? 0) - base.parameters),
      base.parameters,
    ),
    macs: depths.reduce(
      (sum, depth, s) => sum + (depth - 1) * ((steps[s]?.macs ?? 0) - base.macs),
      base.macs,
    ),
  });
}

function* allDepths(): Generator<readonly number[]> {
  const [a, b, c, d] = MAX_DEPTHS;
  for (let i = 1; i <= a; i++)
    for (let j = 1; j <= b; j++) for (let k = 1; k <= c; k++) for (let l = 1; l <= d; l++) yield [i, j, k, l];
}

function skewOf(depths: readonly number[]): number {
  const unit =
    depths.reduce((sum, depth) => sum + depth, 0) / PROPORTIONS.reduce((sum, part) => sum + part, 0);
  return (
    depths.reduce((sum, depth, s) => sum + Math.abs(Math.log(depth / (unit * (PROPORTIONS[s] ?? 1)))), 0) / 4
  );
}

function search({parameters, macs}: Target): readonly Found[] {
  const found: Found[] = [];
  for (const width of WIDTHS) {
    const costs = linearCosts(width);
    for (const depths of allDepths()) {
      const cost = costs(depths);
      const error = Math.max(Math.abs(cost.parameters / parameters - 1), Math.abs(cost.macs / macs - 1));
      if (error <= TOLERANCE) found.push({...cost, width, depths, error, skew: skewOf(depths)});
    }
  }
  return found.sort((a, b) => a.skew - b.skew || a.error - b.error);
}

/** The author times ConvFirst at this many channels on 64×64 maps, and MBConv at four times as many on 16×16. */
const TIMED_WIDTH = 64;

interface Family {
  readonly members: readonly Found[];
  readonly skew: number;
}

const growsTo = (small: Found, large: Found): boolean =>
  small.width <= large.width && small.depths.every((depth, s) => depth <= (large.depths[s] ?? 0));

/** One candidate a variant, so that none is narrower or shallower than the variant below it; least skew in all. */
function pickFamily(candidates: readonly (readonly Found[])[]): Family | undefined {
  let families: readonly Family[] = [{members: [], skew: 0}];
  for (const list of candidates) {
    families = list.flatMap((found): readonly Family[] => {
      const below = families.filter(
        ({members}) => members.length === 0 || growsTo(members.at(-1) as Found, found),
      );
      // Of those that end in this candidate only the best with the timed width and the best without can win.
      const ranked = [...below].sort((a, b) => a.skew - b.skew);
      const kept = new Set([ranked[0], ranked.find(hasTimedWidth)].filter((family) => family !== undefined));
      return [...kept].map(({members, skew}) => ({members: [...members, found], skew: skew + found.skew}));
    });
  }
  return families.filter(hasTimedWidth).sort((a, b) => a.skew - b.skew)[0];
}

const hasTimedWidth = ({members}: Family): boolean => members.some(({width}) => width === TIMED_WIDTH);

const line = ({width, depths, parameters, macs, error, skew}: Found): string =>
  `width ${width}, depths ${depths.join(', ')}: ${parameters.toFixed(3)} M, ${macs.toFixed(4)} G, ` +
  `error ${(100 * error).toFixed(2)} %, depth skew ${skew.toFixed(3)}`;

console.log(
  `ConvFirst reconstructed. Input ${SIZE}×${SIZE}; first widths ${WIDTHS[0] ?? 0} to ${WIDTHS.at(-1) ?? 0} by ${GROUP_WIDTH}; depths to ${MAX_DEPTHS.join(', ')}.`,
);
console.log(
  `Candidates have parameters and MACs within ${100 * TOLERANCE} % of the paper's; those with depths nearest to ${PROPORTIONS.join(':')} come first.\n`,
);
const candidates = TARGETS.map(search);
TARGETS.forEach(({name, parameters, macs}, i) => {
  const found = candidates[i] ?? [];
  console.log(
    `${name}: ${parameters} M parameters, ${macs} G MACs; ${found.length} candidates, the first ${SHOWN}:`,
  );
  for (const candidate of found.slice(0, SHOWN)) console.log(`  ${line(candidate)}`);
});
console.log(
  `\nChosen: widths and depths that never shrink from a variant to the next, one variant with the timed width of ${TIMED_WIDTH}, least skew in all.`,
);
pickFamily(candidates)?.members.forEach((found, i) =>
  console.log(`  ${TARGETS[i]?.name ?? ''}: ${line(found)}`),
);
