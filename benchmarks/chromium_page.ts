/** Serves a page with models to a headless Chromium and waits for its answers: rows of its own kind, one POST each. */
import {type ChildProcess, spawn, type SpawnOptions} from 'node:child_process';
import {closeSync, existsSync, openSync} from 'node:fs';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {extname, join, normalize} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';

/** A compiled file of benchmarks/ that asks for `/task`, posts to `/say`, `/alive` and `/row`, and ends with `/done` or `/error`. */
export interface Page {
  readonly script: string;
  /** What it is asked, as JSON. */
  readonly task: unknown;
  /** Served as `/model/0/json` and `/model/0/weights`, and so on. */
  readonly models: readonly string[];
  /** By the path under which their files are served: `/litert/`. */
  readonly folders?: Readonly<Record<string, string>>;
  /** For what its bundle leaves out, an address by name. */
  readonly imports?: Readonly<Record<string, string>>;
}

const beside = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const bundleOf = (script: string): string => beside(`${script}.bundle.js`);
const html = (imports: Page['imports'] = {}): string =>
  `<!doctype html><meta charset="utf-8"><script type="importmap">${JSON.stringify({imports})}</script>` +
  '<script type="module" src="/page.js"></script>';
const TYPES: Readonly<Record<string, string>> = {'.js': 'text/javascript', '.wasm': 'application/wasm'};

/** As karma.conf.js has them. */
const SWIFTSHADER_FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
  '--enable-dawn-features=disable_workgroup_init',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
];

/** Writes the page's script; where esbuild is missing, the one that was written elsewhere will do. */
export async function bundlePage(script: string): Promise<void> {
  const esbuild = await import('esbuild').catch(() => undefined);
  const outfile = bundleOf(script);
  if (!esbuild) {
    if (existsSync(outfile)) return;
    throw new Error(`esbuild is not installed: write ${outfile} elsewhere with --bundle and bring it here.`);
  }
  await esbuild.build({
    ...{entryPoints: [beside(`${script}.js`)], outfile, bundle: true, format: 'esm', platform: 'browser'},
    ...{target: 'chrome120', logLevel: 'warning'},
  });
}

export interface ChromiumOptions<Row> {
  readonly load: (name: string) => Promise<tf.io.ModelArtifacts>;
  /** A shell command that starts a headless Chromium; flags and the URL follow it. */
  readonly command: string | undefined;
  readonly say: (line: string) => void;
  readonly onRow: (row: Row) => void | Promise<void>;
}

/** The page sends a sign of life every few seconds; a renderer that has died sends none. */
const MOST_SILENCE_MS = 120_000;

/** @throws what the page throws, and where Chromium ends or falls silent before it is done. */
export async function runInChromium<Row>(page: Page, options: ChromiumOptions<Row>): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-page-'));
  const log = join(profile, 'chromium.log');
  const server = createServer();
  let child: ChildProcess | undefined;
  let watchdog: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      // Else it would outlive this process, in a group of its own.
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        process.once(signal, () => reject(new Error(`Stopped by ${signal}.`)));
      const silence = (): void =>
        reject(new Error(`Chromium sent nothing for ${MOST_SILENCE_MS / 1000} seconds.`));
      const alive = (): void => {
        clearTimeout(watchdog);
        watchdog = setTimeout(silence, MOST_SILENCE_MS);
      };
      const site = siteOf(page, options, {resolve, reject});
      server.on('request', (request, response) => {
        alive();
        answer({request, response}, site).catch(reject);
      });
      server.listen(0, '127.0.0.1', () => {
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
        alive();
        child = startChromium(options.command, {profile, url, log});
        child.on('error', reject);
        child.on('exit', (code) =>
          reject(new Error(`Chromium ended with exit code ${code} before the page was done.`)),
        );
      });
    });
  } catch (error) {
    if (existsSync(log)) options.say((await readFile(log, 'utf8')).slice(-2000));
    throw error;
  } finally {
    clearTimeout(watchdog);
    stop(child);
    server.close();
    server.closeAllConnections();
    await rm(profile, {recursive: true, force: true, maxRetries: 5});
  }
}

interface Outcome {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function siteOf<Row>(page: Page, {load, say, onRow}: ChromiumOptions<Row>, {resolve, reject}: Outcome): Site {
  const artifacts = new Map<string, Promise<tf.io.ModelArtifacts>>();
  return {
    page,
    loaded: (index) => {
      const made = artifacts.get(index) ?? load(page.models[Number(index)] ?? '');
      artifacts.clear(); // One model at a time is in memory.
      artifacts.set(index, made);
      return made;
    },
    posted: {
      '/say': (line) => say(String(line)),
      '/alive': () => undefined,
      '/row': (row) => onRow(row as Row),
      '/done': resolve,
      '/error': (error) => reject(new Error(`The page failed: ${String(error)}`)),
    },
  };
}

interface Start {
  readonly profile: string;
  readonly url: string;
  /** Takes what Chromium prints. */
  readonly log: string;
}

/** In a process group of its own, because Chromium is many processes, and a command may be a script. */
function startChromium(command: string | undefined, {profile, url, log}: Start): ChildProcess {
  const own = [`--user-data-dir=${profile}`, url];
  const chromium = process.env['CHROME_PATH'] ?? 'chromium';
  const file = openSync(log, 'w');
  const how: SpawnOptions = {detached: true, stdio: ['ignore', file, file]};
  const child =
    command === undefined
      ? spawn(chromium, [...SWIFTSHADER_FLAGS, ...own], how)
      : spawn('sh', ['-c', `exec ${command} "$@"`, 'sh', ...own], how);
  closeSync(file); // the child has its own
  return child;
}

function stop(child: ChildProcess | undefined): void {
  if (child?.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid);
  } catch {
    // It has ended by itself.
  }
}

interface Site {
  readonly page: Page;
  readonly loaded: (index: string) => Promise<tf.io.ModelArtifacts>;
  readonly posted: Readonly<Record<string, (body: unknown) => void | Promise<void>>>;
}

async function answer(
  {request, response}: {request: IncomingMessage; response: ServerResponse},
  {page, loaded, posted}: Site,
): Promise<void> {
  const path = request.url ?? '/';
  const send = (type: string, body: string | Uint8Array): void => {
    response.writeHead(200, {'content-type': type}).end(body);
  };
  if (request.method === 'POST') {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    await posted[path]?.(JSON.parse(Buffer.concat(chunks).toString()));
    send('text/plain', '');
    return;
  }
  const [, index = '', part] = /^\/model\/(\d+)\/(json|weights)$/.exec(path) ?? [];
  const file = fileOf(page, path);
  if (path === '/') send('text/html', html(page.imports));
  else if (path === '/page.js') send('text/javascript', await readFile(bundleOf(page.script)));
  else if (path === '/task') send('application/json', JSON.stringify(page.task));
  else if (part !== undefined) await sendModel(response, loaded(index), part);
  else if (file !== undefined && existsSync(file))
    send(TYPES[extname(file)] ?? 'application/octet-stream', await readFile(file));
  else response.writeHead(404).end();
}

function fileOf({folders = {}}: Page, path: string): string | undefined {
  const [prefix, folder] = Object.entries(folders).find(([start]) => path.startsWith(start)) ?? [];
  if (prefix === undefined || folder === undefined) return undefined;
  return join(folder, normalize(`/${path.slice(prefix.length)}`)); // Never above the folder.
}

/** A model that is not there is told to the page, which goes on with the next. */
async function sendModel(
  response: ServerResponse,
  loading: Promise<tf.io.ModelArtifacts>,
  part: string,
): Promise<void> {
  try {
    const {weightData, ...json} = await loading;
    const [type, body] =
      part === 'json'
        ? (['application/json', JSON.stringify(json)] as const)
        : (['application/octet-stream', bytesOf(weightData)] as const);
    response.writeHead(200, {'content-type': type}).end(body);
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}

function bytesOf(data: tf.io.ModelArtifacts['weightData']): Uint8Array {
  const parts = Array.isArray(data) ? data : data ? [data] : [];
  return Buffer.concat(parts.map((part) => new Uint8Array(part)));
}
