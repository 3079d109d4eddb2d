/** What a compiler must know of the products' indices to leave their loops as they are written. */
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {busiestLoop} from './support/spirv.js';

describe('loops of matrix products', () => {
  it('load from workgroup memory by indices whose bounds Dawn finds, so that none is clamped', () => {
    const path = fileURLToPath(new URL('./support/dump_products.js', import.meta.url));
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
      const {loads, clamped} = busiestLoop(text.slice(text.indexOf('Dumped SPIRV')));
      expect(loads).withContext(name).toBeGreaterThan(20);
      expect(clamped).withContext(name).toBe(0);
      const [kernel = ''] = name.split(' ');
      kernels[kernel] = (kernels[kernel] ?? 0) + 1;
    }
    expect(kernels['pointwise.vector']).toBeGreaterThan(15);
    expect(kernels['convolution.vector']).toBe(2);
    expect(kernels['winogradProduct.vector']).toBe(2);
  });
});
