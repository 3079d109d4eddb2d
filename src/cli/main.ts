#!/usr/bin/env node
/** The command `block-fusion`. A command is a file and a line in the table. */
import {type Command, print, UsageError} from './command.js';
import {convert} from './convert.js';
import {inspect} from './inspect.js';
import {models} from './models.js';
import {profile} from './profile.js';

const COMMANDS: readonly Command[] = [inspect, convert, profile, models];

const BAD_INPUT = 1;
const BAD_USAGE = 2;

const overview = (): string =>
  [
    'Usage: block-fusion COMMAND',
    '',
    ...COMMANDS.map(({name, usage, summary}) => `  ${name} ${usage}\n      ${summary}`),
    '',
    'block-fusion COMMAND --help says more.',
  ].join('\n');

const help = ({name, usage, summary, details}: Command): string =>
  [`Usage: block-fusion ${name} ${usage}`, '', summary, ...details.map((line) => `  ${line}`)].join('\n');

async function run([name, ...args]: readonly string[]): Promise<void> {
  if (name === undefined || name === '--help' || name === 'help') return print(overview());
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (!command)
    throw new UsageError(
      `There is no command '${name}'; the commands are ${COMMANDS.map((known) => known.name).join(', ')}.`,
    );
  if (args.includes('--help')) return print(help(command));
  await command.run(args);
}

/** parseArgs says what is wrong in its own way, with a code. */
const isUsage = (error: unknown): boolean =>
  error instanceof UsageError ||
  (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'));

run(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`block-fusion: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
  process.exitCode = isUsage(error) ? BAD_USAGE : BAD_INPUT;
});
