/** Runs a program that prints a line of JSON a batch; where it dies or is silent too long, that batch is given up, the next tried. */
import {type ChildProcess, spawn} from 'node:child_process';
import {createInterface} from 'node:readline';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export type Values = Readonly<Record<string, number | string | boolean>>;

/** What a program says of a batch: its numbers, or why it has none. */
export interface Outcome {
  readonly batch: number;
  readonly values?: Values;
  readonly failure?: string;
}

export interface RunOptions {
  readonly batches: readonly number[];
  /** Between two rows. */
  readonly limitSeconds: number;
  readonly command: (batches: readonly number[]) => Command;
  /** Of the device and versions, as the program sees them. */
  readonly onAbout: (about: Values) => void;
  readonly onOutcome: (outcome: Outcome) => void;
}

/** What a program that failed printed last, if possible a line that names an error. */
export function reasonIn(text: string): string | undefined {
  const lines = text.split('\n').flatMap((line) => line.trim() || []);
  const named = lines.filter((line) => /^\S*(Error|Exception)\b.*: ./.test(line));
  return (named.at(-1) ?? lines.at(-1))?.slice(0, 400);
}

let running: ChildProcess | undefined;

/** A program may be several processes: it is the head of a group. */
export function stopRunning(): void {
  if (running?.pid === undefined || running.exitCode !== null || running.signalCode !== null) return;
  try {
    process.kill(-running.pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

export async function runBatches({batches, command, limitSeconds, ...options}: RunOptions): Promise<void> {
  let left = [...batches];
  while (left.length > 0) {
    const failure = await runOnce(command(left), limitSeconds, {
      onAbout: options.onAbout,
      onRow: ({batch, ...values}) => {
        left = left.filter((other) => other !== batch);
        options.onOutcome({batch: Number(batch), values});
      },
    });
    const [batch, ...rest] = left;
    if (batch === undefined) return;
    options.onOutcome({batch, failure});
    left = rest;
  }
}

interface Listeners {
  readonly onAbout: (about: Values) => void;
  readonly onRow: (row: Values) => void;
}

/** @returns why no further row came. */
function runOnce({file, args}: Command, limitSeconds: number, {onAbout, onRow}: Listeners): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(file, [...args], {detached: true, stdio: ['ignore', 'pipe', 'pipe']});
    running = child;
    let errors = '';
    let late = false;
    const expire = (): void => {
      late = true;
      stopRunning();
    };
    let timer = setTimeout(expire, 1000 * limitSeconds);
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-4000)));
    createInterface({input: child.stdout}).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const value = JSON.parse(line) as Values | {readonly about: Values};
      if (isAbout(value)) return onAbout(value.about);
      clearTimeout(timer);
      timer = setTimeout(expire, 1000 * limitSeconds);
      onRow(value);
    });
    const end = (reason: string): void => {
      clearTimeout(timer);
      resolve(late ? `no row within ${limitSeconds} s` : reason);
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) =>
      end(reasonIn(errors) ?? `ended with ${signal ?? `exit code ${code ?? 'unknown'}`}`),
    );
  });
}

const isAbout = (value: Values | {readonly about: Values}): value is {readonly about: Values} =>
  typeof value['about'] === 'object';
