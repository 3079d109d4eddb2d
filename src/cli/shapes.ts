/** `NAME=1,224,224,3` on the command line. */
import {UsageError} from './command.js';

export function parseShapes(texts: readonly string[]): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.lastIndexOf('=');
      const sizes = text
        .slice(at + 1)
        .split(',')
        .map(Number);
      if (at < 1 || !sizes.every((size) => Number.isInteger(size) && size > 0)) {
        throw new UsageError(`--shape ${text} is not of the form NAME=1,224,224,3.`);
      }
      return [text.slice(0, at), sizes];
    }),
  );
}
