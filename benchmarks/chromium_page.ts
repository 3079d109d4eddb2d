/** Serves a page with models to a headless Chromium and waits for its answer. */
import {type ChildProcess, spawn} from 'node:child_process';
import {existsSync} from 'node:fs';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type * as tf from '@tensorflow/tfjs-core';
import type {PageTask} from './capture_equality_page.js';
import type {EqualityRow} from './equality_table.js';

const SOURCE = fileURLToPath(new URL('capture_equality_page.js', import.meta.url));
const BUNDLE = fileURLToPath(new URL('capture_equality_page.bundle.js', import.meta.url));
const PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="/page.js"></script>';

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
export async function bundlePage(): Promise<void> {
  const esbuild = await import('esbuild').catch(() => undefined);
  if (!esbuild) {
    if (existsSync(BUNDLE)) return;
    throw new Error(`esbuild is not installed: write ${BUNDLE} elsewhere with --bundle and bring it here.`);
  }
  await esbuild.build({
    ...{entryPoints: [SOURCE], outfile: BUNDLE, bundle: true, format: 'esm', platform: 'browser'},
    ...{target: 'chrome120', logLevel: 'warning'},
  });
}

export interface ChromiumOptions {
  readonly load: (name: string) => Promise<tf.io.ModelArtifacts>;
  /** A shell command that starts a headless Chromium; flags and the URL follow it. */
  readonly command: string | undefined;
  readonly say: (line: string) => void;
}

/** @throws what the page throws, and where Chromium ends before it is done. */
export async function runInChromium(
  task: PageTask,
  {load, command, say}: ChromiumOptions,
): Promise<EqualityRow[]> {
  const profile = await mkdtemp(join(tmpdir(), 'capture-equality-'));
  let child: ChildProcess | undefined;
  const artifacts = new Map<string, Promise<tf.io.ModelArtifacts>>();
  const loaded = (index: string): Promise<tf.io.ModelArtifacts> => {
    const made = artifacts.get(index) ?? load(task.models[Number(index)] ?? '');
    artifacts.clear(); // One model at a time is in memory.
    artifacts.set(index, made);
    return made;
  };
  const server = createServer();
  try {
    return await new Promise<EqualityRow[]>((resolve, reject) => {
      const posted: Readonly<Record<string, (body: unknown) => void>> = {
        '/say': (line) => say(String(line)),
        '/adapter': (adapter) => say(`Chromium: ${JSON.stringify(adapter)}`),
        '/rows': (rows) => resolve(rows as EqualityRow[]),
        '/error': (error) => reject(new Error(`The page failed: ${String(error)}`)),
      };
      server.on('request', (request, response) => {
        answer({request, response}, {task, loaded, posted}).catch(reject);
      });
      server.listen(0, '127.0.0.1', () => {
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
        child = startChromium(command, profile, url);
        child.on('error', reject);
        child.on('exit', (code) =>
          reject(new Error(`Chromium ended with exit code ${code} before the page was done.`)),
        );
      });
    });
  } finally {
    stop(child);
    server.close();
    server.closeAllConnections();
    await rm(profile, {recursive: true, force: true, maxRetries: 5});
  }
}

/** In a process group of its own, because Chromium is many processes, and a command may be a script. */
function startChromium(command: string | undefined, profile: string, url: string): ChildProcess {
  const own = [`--user-data-dir=${profile}`, url];
  const chromium = process.env['CHROME_PATH'] ?? 'chromium';
  return command === undefined
    ? spawn(chromium, [...SWIFTSHADER_FLAGS, ...own], {detached: true, stdio: 'ignore'})
    : spawn('sh', ['-c', `exec ${command} "$@"`, 'sh', ...own], {detached: true, stdio: 'ignore'});
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
  readonly task: PageTask;
  readonly loaded: (index: string) => Promise<tf.io.ModelArtifacts>;
  readonly posted: Readonly<Record<string, (body: unknown) => void>>;
}

async function answer(
  {request, response}: {request: IncomingMessage; response: ServerResponse},
  {task, loaded, posted}: Site,
): Promise<void> {
  const path = request.url ?? '/';
  const send = (type: string, body: string | Uint8Array): void => {
    response.writeHead(200, {'content-type': type}).end(body);
  };
  if (request.method === 'POST') {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    send('text/plain', '');
    posted[path]?.(JSON.parse(Buffer.concat(chunks).toString()));
    return;
  }
  const [, index = '', part] = /^\/model\/(\d+)\/(json|weights)$/.exec(path) ?? [];
  if (path === '/') send('text/html', PAGE);
  else if (path === '/page.js') send('text/javascript', await readFile(BUNDLE));
  else if (path === '/task') send('application/json', JSON.stringify(task));
  else if (part === 'json') {
    const artifacts = await loaded(index);
    send('application/json', JSON.stringify({...artifacts, weightData: undefined}));
  } else if (part === 'weights') send('application/octet-stream', bytesOf((await loaded(index)).weightData));
  else response.writeHead(404).end();
}

function bytesOf(data: tf.io.ModelArtifacts['weightData']): Uint8Array {
  const parts = Array.isArray(data) ? data : data ? [data] : [];
  return Buffer.concat(parts.map((part) => new Uint8Array(part)));
}
