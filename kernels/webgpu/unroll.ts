/**
 * Writes loops out. A driver keeps an array in registers only if every index is a constant, so it must unroll the loops around
 * it, and above some size of body it will not: with GELU behind it a matrix product fell from 34 to 2 TFLOP/s on an H200.
 *
 *   // unroll i < THREAD_M
 *   { body }
 *
 * becomes THREAD_M blocks, each of which begins with `const i = …u;`. The braces stand on lines of their own, at the same
 * indentation as the comment. In the same way
 *
 *   // only STACK == 4
 *   { body }
 *
 * stays where the constant has that value and goes where it has another: what is left out may be of other types.
 */
import type {Constants} from '../plan.js';

const UNROLL = /^( *)\/\/ unroll (\w+) < (.+)$/;
const ONLY = /^( *)\/\/ only (\w+) == (\d+)$/;

/**
 * @param extents values of the names in the directives: the kernel's constants.
 * @param asLoops writes `for` loops instead: a software GPU gains nothing from long texts and takes seconds to compile each.
 */
export function unroll(text: string, extents: Constants, asLoops = false): string {
  const lines = text.split('\n');
  const out: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const [, indent, name = '', value = ''] = UNROLL.exec(line) ?? ONLY.exec(line) ?? [];
    if (indent === undefined) {
      out.push(line);
      continue;
    }
    const end = lines.indexOf(`${indent}}`, at);
    if (lines[at + 1] !== `${indent}{` || end < 0)
      throw new Error(`Braces at the indentation of '${line.trim()}' must follow it.`);
    const body = unroll(lines.slice(at + 2, end).join('\n'), extents, asLoops);
    if (ONLY.test(line)) {
      if (!(name in extents)) throw new Error(`'${line.trim()}': there is no constant ${name}.`);
      if (Number(extents[name]) === Number(value)) out.push(`${indent}{`, body, `${indent}}`);
    } else out.push(...repeated(body, {indent, index: name, count: extentOf(value, extents)}, asLoops));
    at = end;
  }
  return out.join('\n');
}

interface Repetition {
  readonly indent: string;
  readonly index: string;
  readonly count: number;
}

function repeated(body: string, {indent, index, count}: Repetition, asLoops: boolean): string[] {
  if (asLoops)
    return [`${indent}for (var ${index} = 0u; ${index} < ${count}u; ${index}++) {`, body, `${indent}}`];
  return Array.from({length: count}, (_, value) => [
    `${indent}{`,
    `${indent}  const ${index} = ${value}u;`,
    body,
    `${indent}}`,
  ]).flat();
}

/** A product or quotient of constants and numbers, such as `THREAD_N / 4`. */
function extentOf(expression: string, extents: Constants): number {
  const terms = expression.split(/ ([*/]) /);
  const valueOf = (term = ''): number => Number(term in extents ? extents[term] : term);
  let value = valueOf(terms[0]);
  for (let i = 1; i < terms.length; i += 2)
    value = terms[i] === '*' ? value * valueOf(terms[i + 1]) : value / valueOf(terms[i + 1]);
  if (!Number.isInteger(value)) throw new Error(`'${expression}' is no whole number of repetitions.`);
  return value;
}
