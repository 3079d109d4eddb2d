/** What would have to change for a convolution to get into a block: a row a reason. */
import type {Miss, MissReason} from './misses.js';

/** A row that is missing is a compile error. Each completes "To fuse this: …". */
const ADVICE: Readonly<Record<MissReason, (miss: Miss) => string>> = {
  'a stage is missing': ({needed}) => `let it be followed or preceded directly by a ${needed} stage`,
  'another kind of convolution': ({needed, found}) => `make the ${found} convolution ${needed}`,
  'no place for this stage': ({found, needed}) => `leave the ${found} stage out: the block is ${needed}`,
  'another activation': ({found, needed}) => `let ${needed} follow the convolution instead of ${found}`,
  'the shortcut has layers': ({found}) => `add the block's input as it is, without ${found} on the shortcut`,
  'an activation follows the add': ({found}) => `move the ${found} behind the add into the next block`,
  'too little to fuse': () =>
    'nothing need change: alone it gains nothing; a stage directly behind it could make a block',
  'the input is no map': ({found}) => `nothing need change: a dense layer (${found}) is one op already`,
  'the value is an output or is kept': ({found}) => `take '${found}' from the outputs and from keep`,
  'the value is used outside the block': ({found}) =>
    `let no one but the next stage need the value (now ${found})`,
  'a part of the value is elsewhere': ({found}) => `let ${found} and what reads it fit one block`,
  'no gain': ({found}) => `nothing need change: at ${found} the separate ops are faster`,
  'shapes do not fit': ({found}) => `mend the shapes: ${found}`,
  'no block starts here': ({needed}) => `let ${needed} follow`,
  'the op is not understood': ({found, needed}) =>
    `convert the model so that it has ${needed}, instead of ${found}`,
};

export const adviceOn = (miss: Miss): string => ADVICE[miss.reason](miss);
