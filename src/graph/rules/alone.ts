/**
 * What is left over when convolutions have all they can take. Arithmetic that no convolution takes is one itself: gain and
 * offset are a depth-wise 1×1 with a bias, so a normalised image, or a batch norm between an activation and zeros of
 * padding, is one dispatch whatever it was spelled with.
 */
import {spatialStage} from '../../../ops/stages/make.js';
import {toWeight} from '../channel.js';
import {typeAttr} from '../attrs.js';
import {any, type Match, op} from '../pattern.js';
import type {Replacement} from '../overlay.js';
import {withShape} from '../weights.js';
import {type Rule, rule} from './rule.js';

function pixelwise(match: Match): Replacement | undefined {
  const {gain, offset} = match.form('line', 'affine');
  const channels = match.shape('x')?.[3] ?? -1;
  const isFloat = ['', 'DT_FLOAT'].includes(typeAttr(match.root.attrs, 'T'));
  const isMap = match.shape('x')?.length === 4 && match.outShape?.join() === match.shape('x')?.join();
  if (!isFloat || !isMap || channels < 1 || match.overlay.constant(match.ref('x'))) return undefined;
  const {name} = match.root;
  const bias = offset !== 0;
  const stage = spatialStage('spatial', {kernel: 1, group: 1, channels, pad: 'valid', bias});
  const Filter = withShape(toWeight(gain, channels, `${name}/gain`), [1, 1, channels, 1]);
  const weights = {Filter, ...(bias ? {Bias: toWeight(offset, channels, `${name}/offset`)} : {})};
  return {form: {op: 'spatial', stage, weights}, inputs: [match.ref('x')]};
}

export const ALONE: readonly Rule[] = [
  rule('affine of no convolution', op('affine', [any('x')], 'line'), pixelwise),
];
