/** f16 plans without a device that has f16: validated by Dawn, and run with their shaders rewritten to packed words. */
import {runScript} from './support/run_script.js';

describe('f16 plans without a device for them', () => {
  it('have shaders that Dawn accepts, with every kernel in its f16 forms', () => {
    const {status, stdout, output} = runScript('support/validate_f16.js');
    expect(status).withContext(output).toBe(0);
    const {kernels} = JSON.parse(stdout) as {kernels: Record<string, number>};
    const expected = [
      ...['matrix.float', 'matrix.half', 'matrixConvolution.float', 'matrixConvolution.half'],
      ...[
        'directPointwise.vector',
        'directPointwise.scalar',
        'convolution.vector',
        'depthwise.vector',
        'grouped.vector',
        'pointwise.vector',
        'pointwise.scalar',
        'groupedProduct.vector',
      ],
      ...['gate', 'sum.vector', 'moments.vector', 'pool.vector', 'blur.vector', 'join.vector'],
    ];
    for (const kernel of expected) expect(kernels[kernel]).withContext(kernel).toBeGreaterThan(0);
  });

  it('run a fused model, warmed up and captured, and in f32 what has its weights on the GPU alone', () => {
    const {status, stdout, output} = runScript('support/fused_f16.js');
    expect(status).withContext(output).toBe(0);
    const found = JSON.parse(stdout) as Record<string, number>;
    expect(found).toEqual(
      jasmine.objectContaining({
        kernels: ['matrix.float'],
        // The MBConv and, of the pooling behind it, the head.
        blocks: 2,
        replayError: 0,
        compiledLate: 0,
        gpuWeightsError: 0,
        warnings: 0,
      }),
    );
    expect(found['error']).toBeGreaterThan(1e-6);
    expect(found['error']).toBeLessThan(3 * 2 ** -11);
  });

  for (const [name, device, every] of [
    ['on fragments of 16×16×16', '16.16.16.32', 24],
    ['on fragments of 8×8×8', '8.8.8.32', 48],
    ['that only store f16', 'storage', 24],
  ] as const) {
    it(`${name}, emulated, are as near to the reference as f16 allows`, () => {
      const {status, output} = runScript('../benchmarks/f16_cases.js', [
        `--emulate=${device}`,
        `--every=${every}`,
      ]);
      expect(status).withContext(output).toBe(0);
      expect(output).toContain('"emulated":');
      expect(output.match(/passed, worst 0\.\d*[1-9]/g)?.length)
        .withContext(`kinds with an error as of f16 in\n${output}`)
        .toBeGreaterThan(5);
    });
  }
});
