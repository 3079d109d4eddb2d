/** What the pages of chromium_page.ts share: how they ask and answer the server, and wait for a GPU. */
import type * as tf from '@tensorflow/tfjs-core';

/** The server gives a page up that is silent for longer. */
const HEARTBEAT_MS = 5000;

export const post = async (path: string, body: unknown): Promise<void> => {
  await fetch(path, {method: 'POST', body: JSON.stringify(body)});
};

export async function artifactsFrom(index: number): Promise<tf.io.ModelArtifacts> {
  const json = await fetch(`/model/${index}/json`);
  const weights = await fetch(`/model/${index}/weights`);
  if (!json.ok || !weights.ok) throw new Error(await (json.ok ? weights : json).text());
  return {...((await json.json()) as tf.io.ModelArtifacts), weightData: await weights.arrayBuffer()};
}

/** Half a second behind its start Chromium 156 has no adapter for a page yet, on Linux with an NVIDIA GPU, though it has one soon. */
async function adapterFound(): Promise<boolean> {
  for (let attempt = 0; attempt < 40; attempt++) {
    if (await navigator.gpu.requestAdapter()) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return false;
}

/** Runs `main` with what the server asks for, the page's own kind of task, and tells the server how it ended. */
export function runPage(main: (task: unknown) => Promise<void>): void {
  const run = async (): Promise<void> => {
    const task = (await (await fetch('/task')).json()) as unknown;
    if (!(await adapterFound())) throw new Error('Chromium has no WebGPU adapter.');
    await main(task);
    await post('/done', null);
  };
  setInterval(() => void post('/alive', null), HEARTBEAT_MS);
  run().catch((error: unknown) => {
    void post('/error', error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error));
  });
}

/** Name and version of the browser, and its adapter. */
export async function placeOf(): Promise<{place: string; adapter: string; isSoftware: boolean}> {
  const adapter = await navigator.gpu.requestAdapter({powerPreference: 'high-performance'});
  const {vendor = '', architecture = '', description = ''} = adapter?.info ?? {};
  return {
    place: /Chrome\/[\d]+/.exec(navigator.userAgent)?.[0] ?? navigator.userAgent,
    adapter: `${vendor} ${architecture} ${description}`.trim(),
    isSoftware: adapter?.info.isFallbackAdapter ?? false,
  };
}
