/** What a compiler must know of the indices in a kernel's loops to leave them as they are written: else WGSL has it clamp them. */
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {busiestPlace} from './support/spirv.js';

describe('loops of products and of fused runs', () => {
  it('load from workgroup memory by indices whose bounds Dawn finds, so that none is clamped', () => {
    const path = fileURLToPath(new URL('./support/dump_loops.js', import.meta.url));
    const {status, stdout, stderr} = spawnSync(process.execPath, [path], {
      encoding: 'utf8',
      timeout: 300_000,
      maxBuffer: 2 ** 28,
    });
    expect(status).withContext(stderr).toBe(0);
    const [, ...texts] = stdout.split('\n@@@ ');
    const kernels: Record<string, number> = {};
    for (const text of texts) {
      const name = text.slice(0, text.indexOf('\n'));
      const {loads, clamped} = busiestPlace(text.slice(text.indexOf('Dumped SPIRV')));
      expect(loads).withContext(name).toBeGreaterThan(3);
      expect(clamped).withContext(name).toBe(0);
      const [kernel = ''] = name.split('.');
      kernels[kernel] = (kernels[kernel] ?? 0) + 1;
    }
    expect(kernels).toEqual({
      pointwise: 16,
      convolution: 1,
      winogradProduct: 1,
      expandDepthwise: 1,
      expandRows: 1,
      expandDepthwiseProject: 1,
      depthwiseProject: 1,
      feedForward: 1,
    });
  });
});
