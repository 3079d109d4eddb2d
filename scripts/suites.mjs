/** What both runners share: the compiled test files, the order, the time limits. */
import {readdirSync} from 'node:fs';

const flag = (name) => process.argv.find((argument) => argument.startsWith(`--${name}=`))?.split('=')[1];

/** Random but the same in every run, so that an order dependence shows and can be repeated. */
export const SEED = flag('seed') ?? '42042';
/** SwiftShader needs seconds where a GPU needs milliseconds. */
export const SPEC_TIMEOUT_MS = 120_000;

/**
 * Paths of compiled test files, relative to the repository root, that have their source still. `*.node.test.ts` are for Node alone;
 * `*.browser.test.ts` run in Node only where --filter asks for them, as on a GPU: Chromium's SwiftShader is the same as Node's.
 */
export function testFiles({inBrowser}) {
  const filter = flag('filter') ?? '';
  return readdirSync('test', {recursive: true})
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.test.ts') && path.includes(filter))
    .filter((path) => !(inBrowser && path.endsWith('.node.test.ts')))
    .filter((path) => inBrowser || filter || !path.endsWith('.browser.test.ts'))
    .sort()
    .map((path) => `dist/test/${path.replace(/\.ts$/, '.js')}`);
}
