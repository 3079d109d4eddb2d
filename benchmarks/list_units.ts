/** Prints the architectures, or with a name the units of one, as JSON: what scripts/verify_models.py needs to know of them. */
import {ARCHITECTURES, describe, findArchitecture, makeNetwork} from '../models/index.js';

const name = process.argv[2];
const shown =
  name === undefined
    ? ARCHITECTURES.map((architecture) => describe(architecture))
    : makeNetwork(findArchitecture(name)).units.map((unit) => ({
        name: unit.name,
        form: unit.form,
        at: unit.at,
      }));
console.log(JSON.stringify(shown));
