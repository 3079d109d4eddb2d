/** f16 plans without a device that has f16: validated by Dawn, and run with their shaders rewritten to packed words. */
import {spawnSync} from 'node:child_process';
import {fileURLToPath} from 'node:url';

function run(script: string, args: readonly string[] = []): {status: number | null; output: string} {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const {status, stdout, stderr} = spawnSync(process.execPath, [path, ...args], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  return {status, output: stdout + stderr};
}

describe('f16 plans', () => {
  it('have shaders that Dawn accepts, with every kernel in its f16 forms', () => {
    const {status, output} = run('./support/validate_f16.js');
    expect(status).withContext(output).toBe(0);
    const {kernels} = JSON.parse(output.slice(output.indexOf('{'))) as {kernels: Record<string, number>};
    const expected = [
      ...['matrix.float', 'matrix.half', 'matrixConvolution.float', 'matrixConvolution.half'],
      ...['pointwise.vector', 'pointwise.scalar', 'convolution.vector', 'depthwise.vector', 'grouped.vector'],
      ...['gate', 'sum.vector', 'moments.vector', 'pool.vector', 'blur.vector', 'join.vector'],
    ];
    for (const kernel of expected) expect(kernels[kernel]).withContext(kernel).toBeGreaterThan(0);
  });

  for (const [name, device, every] of [
    ['on fragments of 16×16×16', '16.16.16.32', 8],
    ['on fragments of 8×8×8', '8.8.8.32', 24],
    ['that only store f16', 'storage', 24],
  ] as const) {
    it(`${name}, emulated, are as near to the reference as f16 allows`, () => {
      const {status, output} = run('../benchmarks/f16_cases.js', [`--emulate=${device}`, `--every=${every}`]);
      expect(status).withContext(output).toBe(0);
      expect(output).toContain('"emulated":');
      expect(output.match(/passed, worst 0\.\d*[1-9]/g)?.length)
        .withContext(`kinds with an error as of f16 in\n${output}`)
        .toBeGreaterThan(5);
    });
  }
});
