/** The kernels of fused runs as a real GPU gets them: written out, and within the limits of every device. */
import {runScript} from './support/run_script.js';

describe('kernels of fused runs, written out', () => {
  it('are accepted by Dawn under the guaranteed limits, in every case and with tiles from all over the candidates', () => {
    const {status, stdout, output} = runScript('support/validate_fused.js');
    expect(status).withContext(output).toBe(0);
    const {kernels} = JSON.parse(stdout) as {kernels: Record<string, number>};
    for (const kernel of ['feedForward', 'depthwiseProject', 'expandDepthwiseProject', 'expandDepthwise'])
      expect(kernels[`${kernel}.vector`]).withContext(kernel).toBeGreaterThan(9);
    for (const kernel of ['feedForward', 'depthwiseProject', 'expandDepthwise'])
      expect(kernels[`${kernel}.scalar`]).withContext(kernel).toBeGreaterThan(0);
  });
});
