/** Each spec needs a process of its own: TF.js and Dawn keep state for as long as the process lives. */
import {spawnSync} from 'node:child_process';

function runNode(
  lines: readonly string[],
  env: Record<string, string> = {},
): {status: number | null; output: string} {
  const options = {encoding: 'utf8', env: {...process.env, ...env}, timeout: 60_000} as const;
  const {status, stdout, stderr} = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', lines.join('\n')],
    options,
  );
  return {status, output: stdout + stderr};
}

const NODE_ENTRY = new URL('../src/node.js', import.meta.url).href;
const START = [
  `import * as tf from '@tensorflow/tfjs-core';`,
  `import {useNodeWebGPU} from '${NODE_ENTRY}';`,
  `const webgpu = await useNodeWebGPU();`,
];

describe('useNodeWebGPU', () => {
  it('starts, and lets the process exit once disposed', () => {
    const {status, output} = runNode([
      ...START,
      `console.log(tf.getBackend(), typeof webgpu.isSoftware, webgpu === (await useNodeWebGPU()));`,
      `webgpu.dispose();`,
      `console.log(navigator.gpu);`,
    ]);
    expect(output).toContain('webgpu boolean true\nundefined');
    expect(status).toBe(0);
  });

  it('works where the backend was imported before, and again after dispose', () => {
    const {status, output} = runNode([
      `import '@tensorflow/tfjs-backend-webgpu';`,
      ...START,
      `webgpu.dispose();`,
      `const again = await useNodeWebGPU();`,
      `console.log(tf.getBackend(), Array.from(await tf.add(tf.ones([2000]), 1).data()).every((value) => value === 2));`,
      `again.dispose();`,
    ]);
    expect(output).toContain('webgpu true');
    expect(status).toBe(0);
  });

  it('says what to do where the named Vulkan driver does not exist', () => {
    const {status, output} = runNode(START, {VK_ICD_FILENAMES: '/nonexistent.json'});
    expect(output).toContain('Unset VK_DRIVER_FILES and VK_ICD_FILENAMES');
    expect(status).not.toBe(0);
  });
});
