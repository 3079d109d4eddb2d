/** What a sub-command of `block-fusion` is. Results go to stdout, progress to stderr, and a thrown error to the user as one line. */
export interface Command {
  readonly name: string;
  /** Arguments as the help shows them. */
  readonly usage: string;
  readonly summary: string;
  /** A line each, for the command's own help. */
  readonly details: readonly string[];
  readonly run: (args: readonly string[]) => Promise<void>;
}

/** Thrown for a command line that makes no sense: the message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const progress = (text: string): void => void process.stderr.write(`${text}\n`);
