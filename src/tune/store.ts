/** Where measurements are kept between runs: JSON wherever the caller puts it, or IndexedDB in a browser. */
import {tunedOf} from '../../kernels/webgpu/index.js';
import type {LoadOutcome} from '../../kernels/webgpu/tuned.js';
import {currentWebGPU} from './measure_device.js';

const SCHEME = 'indexeddb://';
const DATABASE = 'tfjs-block-fusion';
const STORE = 'tuned';

/**
 * Takes over what `tune` measured elsewhere: the parsed JSON of a tuned file, its text, or `indexeddb://NAME`. Load it before
 * the first prediction. What was measured on another adapter or driver or by another version of this package, what is damaged
 * and what is not there is ignored, with one warning on the console; so are single entries the device does not allow.
 * @throws where the current backend is not WebGPU.
 */
export async function loadTuned(source: unknown): Promise<LoadOutcome> {
  const {device} = currentWebGPU('loadTuned');
  const outcome = await readSource(source).then(
    (data) => tunedOf(device).load(data),
    (error: unknown): LoadOutcome => ({kind: 'ignored', reason: (error as Error).message}),
  );
  warnOf(outcome, typeof source === 'string' && source.startsWith(SCHEME) ? `'${source}'` : 'the tuned file');
  return outcome;
}

/**
 * Keeps what is known of the current device in the browser. @param url `indexeddb://NAME`.
 * @throws where the backend is not WebGPU, the URL is none of these, or the browser refuses to store.
 */
export async function saveTuned(url: `indexeddb://${string}`): Promise<void> {
  const data = tunedOf(currentWebGPU('saveTuned').device).toJSON();
  if (!url.startsWith(SCHEME))
    throw new Error(`saveTuned: '${url}' is not of the form ${SCHEME}NAME; in Node, use writeTuned(path).`);
  await inStore('readwrite', (store) => store.put(data, url.slice(SCHEME.length)));
}

async function readSource(source: unknown): Promise<unknown> {
  if (typeof source !== 'string') return source;
  if (source.startsWith(SCHEME)) {
    const found: unknown = await inStore('readonly', (store) => store.get(source.slice(SCHEME.length)));
    if (found === undefined) throw new Error('there is nothing of that name');
    return found;
  }
  try {
    return JSON.parse(source) as unknown;
  } catch (error) {
    throw new Error(`it is not JSON (${(error as Error).message})`, {cause: error});
  }
}

/** One warning for a file, whatever is wrong with it. */
function warnOf(outcome: LoadOutcome, what: string): void {
  if (outcome.kind === 'ignored') {
    console.warn(`loadTuned: ${what} is ignored: ${outcome.reason}. Run tune() on this device to make one.`);
  } else if (outcome.refused.length > 0) {
    const [first = ''] = outcome.refused;
    console.warn(
      `loadTuned: ${outcome.refused.length} of the tiles in ${what} are ignored, since they are no candidates on this device; the first is that of ${first}.`,
    );
  }
}

async function inStore<T>(
  mode: IDBTransactionMode,
  use: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  if (typeof indexedDB === 'undefined') throw new Error('this environment has no IndexedDB');
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await resultOf(opening);
  try {
    return await resultOf(use(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

const resultOf = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB failed'));
  });
