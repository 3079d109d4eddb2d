/** Cases of a block spec for tests whose oracle is slow. */
import {
  type BlockCase,
  BlockError,
  type BlockSpec,
  costOf,
  type Shape4D,
  traceBlock,
} from '../../ops/index.js';

type Cases = Pick<BlockSpec, 'kind' | 'cases'>;

/** Those that cost at most so many multiply-accumulates. */
export const smallCases = ({kind, cases}: Cases, macs: number): readonly BlockCase[] =>
  cases.filter(({stages, input}) => costOf({kind, stages}, input).macs <= macs);

/** The same on maps of at most 5×4 pixels where the stages fit there; cases that then are alike count once. */
export function shrunkCases({kind, cases}: Cases, macs: number): readonly BlockCase[] {
  const shrunk = cases.map((one): BlockCase => {
    const [n, h, w, c] = one.input;
    const input: Shape4D = [n, Math.min(h, 5), Math.min(w, 4), c];
    return fits(kind, one, input) ? {...one, input} : one;
  });
  const unlike = new Map(shrunk.map((one) => [JSON.stringify([one.stages, one.input]), one]));
  return smallCases({kind, cases: [...unlike.values()]}, macs);
}

function fits(kind: string, {stages}: BlockCase, input: Shape4D): boolean {
  try {
    traceBlock({kind, stages}, input);
    return true;
  } catch (error) {
    if (error instanceof BlockError) return false;
    throw error;
  }
}
