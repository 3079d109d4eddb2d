/** What a compiler must know of the indices in a kernel's loops to leave them as they are written: else WGSL has it clamp them. */
import {runScript} from './support/run_script.js';
import {busiestPlace, type Loads} from './support/spirv.js';

/** Kernels, how many the script compiles of each, and more loads than what stands behind the loop makes. */
const PRODUCTS = {pointwise: 16, convolution: 1, winogradProduct: 1};
const FUSED = {
  expandDepthwise: 1,
  expandRows: 1,
  expandDepthwiseProject: 1,
  depthwiseProject: 1,
  feedForward: 1,
};
const [OF_PRODUCTS, OF_FUSED] = [20, 3];

/** Behind the WGSL, which is dumped as well. */
const placeIn = (text: string): Loads => {
  const {loads, clamped} = busiestPlace(text.slice(text.indexOf('Dumped SPIRV')));
  return {loads, clamped};
};

describe('loops of products and of fused runs', () => {
  it('load from workgroup memory by indices whose bounds Dawn finds, so that none is clamped', () => {
    const {status, stdout, output} = runScript('support/dump_loops.js');
    expect(status).withContext(output.slice(-2000)).toBe(0);
    const [, control = '', ...texts] = stdout.split('\n@@@ ');
    expect(placeIn(control)).toEqual({loads: 2, clamped: 1});
    const kernels: Record<string, number> = {};
    for (const text of texts) {
      const name = text.slice(0, text.indexOf('\n'));
      const [kernel = ''] = name.split('.');
      kernels[kernel] = (kernels[kernel] ?? 0) + 1;
      const {loads, clamped} = placeIn(text);
      expect(loads)
        .withContext(name)
        .toBeGreaterThan(kernel in PRODUCTS ? OF_PRODUCTS : OF_FUSED);
      expect(clamped).withContext(name).toBe(0);
    }
    expect(kernels).toEqual({...PRODUCTS, ...FUSED});
  });
});
