/** The browser suites in headless Chromium, on SwiftShader. scripts/run_browser.mjs bundles them and starts karma. */
import {SEED, SPEC_TIMEOUT_MS} from './scripts/suites.mjs';

export const BUNDLE = 'dist/browser_tests.js';

const CHROMIUM_FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-unsafe-swiftshader',
  // See node_setup.ts.
  '--enable-dawn-features=disable_workgroup_init',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
];

export default function configure(config) {
  config.set({
    basePath: import.meta.dirname,
    frameworks: ['jasmine'],
    plugins: ['karma-jasmine', 'karma-chrome-launcher'],
    files: [
      {pattern: BUNDLE, type: 'module'},
      ...[
        'node_modules/@vladmandic/human/models/*',
        'node_modules/nsfwjs/dist/models/mobilenet_v2/*',
        'test/fixtures/efficientnet_b0/*',
        'test/fixtures/converted/tf1_mobilenet_v2/*',
      ].map((pattern) => ({pattern, included: false, watched: false})),
    ],
    browsers: ['Chromium'],
    customLaunchers: {Chromium: {base: 'Chrome', flags: CHROMIUM_FLAGS}},
    client: {jasmine: {random: true, seed: SEED, timeoutInterval: SPEC_TIMEOUT_MS}, clearContext: false},
    reporters: ['dots'],
    singleRun: true,
    autoWatch: false,
    captureTimeout: 2 * 60_000,
    browserNoActivityTimeout: 10 * 60_000,
    browserDisconnectTimeout: 60_000,
  });
}
