/**
 * `npm run fuzz -- [--seed N] [--count M] [--minutes T]`: runs cases N, N + 1, … until there were M of them or T minutes are over;
 * prints each that fails, by the seed that repeats it.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import {makeModel, runCase} from './run_case.js';

const flag = (name: string, otherwise: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};

const [first, most, minutes] = [flag('seed', 1), flag('count', 1000), flag('minutes', Infinity)];
await tf.setBackend('cpu');
const started = Date.now();
const isOver = (): boolean => Date.now() - started > 60_000 * minutes;
let [count, failed, damaged] = [0, 0, 0];
for (let seed = first; seed < first + most && !isOver(); seed++, count++) {
  if (makeModel(seed).damages.length > 0) damaged++;
  const wrong = await runCase(seed).catch((error: unknown) =>
    error instanceof Error ? error.stack : String(error),
  );
  if (wrong === undefined) continue;
  failed++;
  console.log(`seed ${seed}: ${wrong}`);
}
const seconds = Math.round((Date.now() - started) / 1000);
console.log(`${count} cases from seed ${first}, ${damaged} of them damaged: ${failed} failed, ${seconds} s`);
process.exitCode = failed ? 1 : 0;
