/** Progress on stderr: one line that is rewritten on a terminal, a line now and then in a log. */
import {stderr} from 'node:process';

export type OnProgress = (done: number, total: number, what: string) => void;

const LOG_EVERY_MS = 10_000;
const REDRAW_EVERY_MS = 100;

/** @param label says what the numbers count. Call `end` before anything else is printed. */
export function showProgress(label: string): {readonly onProgress: OnProgress; readonly end: () => void} {
  const isTerminal = stderr.isTTY;
  const every = isTerminal ? REDRAW_EVERY_MS : LOG_EVERY_MS;
  const start = performance.now();
  let last = -Infinity;
  const onProgress: OnProgress = (done, total, what) => {
    const now = performance.now();
    if (now - last < every) return;
    last = now;
    const seconds = ((now - start) / 1000).toFixed(0);
    const line = `${label} [${done + 1}/${total}] ${what} (${seconds} s)`;
    stderr.write(isTerminal ? `\r\x1b[K${line.slice(0, stderr.columns - 1)}` : `${line}\n`);
  };
  const end = (): void => {
    if (isTerminal) stderr.write('\r\x1b[K');
  };
  return {onProgress, end};
}
