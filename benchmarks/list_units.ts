/** Prints the architectures, or with a name the units of one, as JSON: what scripts/verify_models.py needs to know of them. */
import {CONV_FIRSTS} from '../models/families/conv_first.js';
import {ARCHITECTURES, describe, findArchitecture, makeNetwork} from '../models/index.js';

const sizesOf = (name: string): object =>
  (CONV_FIRSTS as Readonly<Record<string, object | undefined>>)[name] ?? {};

const name = process.argv[2];
const shown =
  name === undefined
    ? ARCHITECTURES.map((architecture) => ({...describe(architecture), ...sizesOf(architecture.name)}))
    : makeNetwork(findArchitecture(name)).units.map((unit) => ({
        name: unit.name,
        form: unit.form,
        at: unit.at,
      }));
console.log(JSON.stringify(shown));
