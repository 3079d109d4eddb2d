import js from '@eslint/js';
import {createNodeResolver, importX} from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** Files that only Node loads; everything else in the library must run in a browser. */
const NODE_ONLY = [
  'src/node*',
  'src/node*/**',
  'src/cuda*',
  'src/cuda*/**',
  'src/cli/**',
  'models/node*',
  'models/node*/**',
  'kernels/cuda/**',
];
const LIBRARY = ['ops/**/*.ts', 'kernels/**/*.ts', 'src/**/*.ts', 'models/**/*.ts'];

/** Imports go one way: ops ← kernels ← src, ops ← models ← src. Tests and benchmarks see all, and are seen by none. */
const ONE_WAY = [
  {target: './ops', from: ['./kernels', './src', './models'], message: 'ops imports only ops and tfjs-core.'},
  {target: './kernels', from: ['./src', './models'], message: 'kernels imports only kernels and ops.'},
  {target: './kernels/webgpu', from: './kernels/cuda', message: 'The two backends never see each other.'},
  {target: './kernels/cuda', from: './kernels/webgpu', message: 'The two backends never see each other.'},
  {target: './models', from: ['./kernels', './src'], message: 'models imports only models and ops.'},
  {target: './src/graph', from: ['./kernels', './models'], message: 'The rewriter knows ops alone.'},
  {target: './src/graph', from: './src', except: ['./graph'], message: 'The rewriter knows ops alone.'},
  {
    target: ['./ops', './kernels', './src', './models'],
    from: ['./test', './benchmarks', './scripts'],
    message: 'The library does not know its tests.',
  },
];
const BROWSER_TO_NODE = {
  target: ['./ops', './kernels', './src', './models'],
  from: NODE_ONLY.map((path) => `./${path}`),
  message: 'A browser loads this file; what it imports is for Node only.',
};

const NO_SYNC_READ = ['dataSync', 'arraySync'].map((property) => ({
  property,
  message:
    'It blocks, and on webgpu returns wrong values in Node and on SwiftShader: await data() or array().',
}));

export default tseslint.config(
  {ignores: ['dist/', 'coverage/', '.gpu/']},
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    plugins: {'import-x': importX},
    settings: {
      'import-x/resolver-next': [
        createNodeResolver({
          extensionAlias: {'.js': ['.ts', '.js']},
          conditionNames: ['types', 'import', 'node', 'default'],
        }),
      ],
    },
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: import.meta.dirname}},
    linterOptions: {reportUnusedDisableDirectives: 'error'},
    rules: {
      // TF.js hands kernels a TensorInfo that is a Tensor, and a KernelBackend that is the named one.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      eqeqeq: ['error', 'always', {null: 'ignore'}],
      'no-restricted-properties': ['error', ...NO_SYNC_READ],
      'import-x/no-cycle': 'error',
      'import-x/no-default-export': 'error',
      'import-x/no-restricted-paths': ['error', {zones: ONE_WAY}],
      '@typescript-eslint/consistent-type-imports': ['error', {fixStyle: 'inline-type-imports'}],
      // Numbers in messages are plain; objects still may not slip into one.
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true}],
      // `() => void call()` and `return fail(...)` in a void function say what they do.
      '@typescript-eslint/no-confusing-void-expression': 'off',
    },
  },
  {
    files: LIBRARY,
    ignores: NODE_ONLY,
    rules: {
      'import-x/no-nodejs-modules': 'error',
      'import-x/no-restricted-paths': ['error', {zones: [...ONE_WAY, BROWSER_TO_NODE]}],
      'no-restricted-globals': ['error', 'process', 'Buffer', 'require', '__dirname', '__filename', 'global'],
    },
  },
  {
    files: ['ops/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {regex: '^(?!\\.|@tensorflow/tfjs-core$)', message: 'ops imports only ops and tfjs-core.'},
          ],
        },
      ],
    },
  },
  {
    files: ['test/**/*.test.ts'],
    ignores: ['test/**/*.node.test.ts'],
    rules: {'import-x/no-nodejs-modules': 'error'},
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: {globals: {process: 'readonly', console: 'readonly', URL: 'readonly'}},
    rules: {'import-x/no-default-export': 'off'},
  },
);
