/**
 * WebGPU in Node: Dawn from npm `webgpu`, on a real GPU where there is one, else on the SwiftShader (a CPU rasteriser)
 * that ships with Chromium. Knows nothing of blocks or kernels.
 */
import {existsSync, realpathSync} from 'node:fs';
import {constants} from 'node:os';
import {dirname, join} from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import {rememberAdapter} from '../kernels/webgpu/matrix_tiling.js';

export interface NodeWebGPUOptions {
  /** Passed to Dawn as they are, e.g. `['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia']`. */
  readonly flags?: readonly string[];
  /**
   * Asks for f16, subgroups and subgroup matrices, which Dawn counts as unsafe and, on NVIDIA, switches off. Where the adapter has
   * none, the device comes without.
   */
  readonly halfPrecision?: boolean;
  /** Features to ask for besides TF.js's own, where the adapter has them; with `halfPrecision` those three unless given. */
  readonly features?: readonly string[];
}

export interface NodeWebGPU {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** True where the adapter is a CPU rasteriser: results count, times do not. */
  readonly isSoftware: boolean;
  /** Disposes the `webgpu` backend and removes `navigator.gpu`, which can keep the process from exiting. */
  dispose(): void;
}

const BACKEND = 'webgpu';
/** Of TF.js's own registration, so that `tf.ready()` prefers WebGPU to the CPU as it does in a browser. */
const BACKEND_PRIORITY = 3;
/** glibc's RTLD_NODELETE, which Node does not name: the library stays loaded after the failed module load. */
const RTLD_NODELETE = 0x1000;
const CHROMIUM_FOLDERS = [
  '/usr/lib/chromium',
  '/usr/lib/chromium-browser',
  '/opt/google/chrome',
  '/snap/chromium/current/usr/lib/chromium-browser',
];
const GPU_DEVICE_NODES = ['/dev/dri', '/dev/nvidiactl', '/dev/nvidia0', '/dev/dxg'];

let active: Promise<NodeWebGPU> | undefined;
/** Kept after dispose(): a process with two live Dawn instances on SwiftShader now and then aborts as it exits. */
let dawn: {readonly flags: string; readonly found: FoundAdapter} | undefined;

/**
 * Gives this process a `navigator.gpu` and makes `webgpu` the TF.js backend. A second call returns the first one's result
 * until that is disposed. Where `VK_DRIVER_FILES` or `VK_ICD_FILENAMES` is set, only the drivers it names are tried.
 * Call it before importing anything that registers backends by the presence of `navigator.gpu`; if
 * `@tensorflow/tfjs-backend-webgpu` was imported earlier, it is registered here.
 * `dataSync()` does not work in Node (it needs OffscreenCanvas): use `await tensor.data()`.
 * @throws where npm `webgpu` or `@tensorflow/tfjs-backend-webgpu` is not installed, or no adapter is found.
 */
export async function useNodeWebGPU(options: NodeWebGPUOptions = {}): Promise<NodeWebGPU> {
  active ??= start(options);
  try {
    return await active;
  } catch (error) {
    active = undefined;
    throw error;
  }
}

const TOGGLES = 'enable-dawn-features=';
const HALF_TOGGLES = ['allow_unsafe_apis', 'vulkan_enable_f16_on_nvidia'];
const HALF_FEATURES = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];

/** The flags with one list of toggles that has them all. */
function withToggles(flags: readonly string[], toggles: readonly string[]): readonly string[] {
  const given = flags.filter((flag) => flag.startsWith(TOGGLES));
  const all = [...given.flatMap((flag) => flag.slice(TOGGLES.length).split(',')), ...toggles];
  return [...flags.filter((flag) => !given.includes(flag)), `${TOGGLES}${[...new Set(all)].join()}`];
}

async function start(options: NodeWebGPUOptions): Promise<NodeWebGPU> {
  const {halfPrecision = false} = options;
  const flags = halfPrecision ? withToggles(options.flags ?? [], HALF_TOGGLES) : (options.flags ?? []);
  const {create, globals} = await importPeer('webgpu', () => import('webgpu'));
  Object.assign(globalThis, globals);
  if (dawn?.flags !== flags.join()) {
    dawn = {flags: flags.join(), found: await findAdapter(() => create([...flags]))};
  }
  const {gpu, info} = dawn.found;
  setNavigatorGPU(gpu);
  const dispose = (): void => {
    if (isRegistered()) tf.removeBackend(BACKEND);
    setNavigatorGPU(undefined);
    active = undefined;
  };
  try {
    await startBackend(gpu, options.features ?? (halfPrecision ? HALF_FEATURES : []));
  } catch (error) {
    dispose();
    throw error;
  }
  const {vendor, architecture, device, description} = info;
  return {vendor, architecture, device, description, isSoftware: info.isFallbackAdapter, dispose};
}

interface FoundAdapter {
  readonly gpu: GPU;
  readonly info: GPUAdapterInfo;
}

async function findAdapter(createGPU: () => GPU): Promise<FoundAdapter> {
  const linux = process.platform === 'linux';
  const chosenByUser = process.env['VK_DRIVER_FILES'] ?? process.env['VK_ICD_FILENAMES'];
  if (linux) loadVulkanLoader();
  // Without a device node there is nothing to find, and Dawn would print a warning that helps nobody.
  const tryHardware =
    !linux || chosenByUser !== undefined || GPU_DEVICE_NODES.some((node) => existsSync(node));
  const found = tryHardware ? await requestAdapter(createGPU()) : undefined;
  if (found && (!found.info.isFallbackAdapter || chosenByUser !== undefined)) return found;
  if (chosenByUser !== undefined) {
    throw new Error(
      `useNodeWebGPU: no WebGPU adapter among the Vulkan drivers that the environment names (${chosenByUser}). ` +
        'Unset VK_DRIVER_FILES and VK_ICD_FILENAMES, or point them at an installed driver.',
    );
  }
  const software = linux ? await findSwiftShader(createGPU) : undefined;
  const result = software ?? found;
  if (!result) {
    throw new Error(
      'useNodeWebGPU: no GPU with a Vulkan, Metal or D3D12 driver, and no Chromium whose SwiftShader could stand in. ' +
        'Install a GPU driver, or Chromium (Debian: apt-get install chromium), or set CHROME_PATH to its executable.',
    );
  }
  return result;
}

/** A new Dawn instance reads the environment again, so SwiftShader can be tried after the hardware in one process. */
async function findSwiftShader(createGPU: () => GPU): Promise<FoundAdapter | undefined> {
  const icd = chromiumFiles('vk_swiftshader_icd.json')[0];
  if (icd === undefined) return undefined;
  process.env['VK_ICD_FILENAMES'] = icd;
  try {
    const found = await requestAdapter(createGPU());
    if (found) console.warn(`useNodeWebGPU: no GPU found; using SwiftShader on the CPU (${icd})`);
    return found;
  } finally {
    // Dawn has loaded its driver by now; child processes should not inherit the choice.
    delete process.env['VK_ICD_FILENAMES'];
  }
}

async function requestAdapter(gpu: GPU): Promise<FoundAdapter | undefined> {
  // Dawn lists discrete GPUs first under this preference, as TF.js itself asks for it.
  const adapter = await gpu.requestAdapter({powerPreference: 'high-performance'});
  return adapter ? {gpu, info: adapter.info} : undefined;
}

/**
 * Dawn opens `libvulkan.so.1` by name. Where the system has none, Chromium's copy is loaded here first: the dynamic linker
 * then answers that name with it. LD_LIBRARY_PATH would do too, but only if set before Node starts.
 */
function loadVulkanLoader(): void {
  for (const library of ['libvulkan.so.1', ...chromiumFiles('libvulkan.so.1')]) {
    try {
      process.dlopen({exports: {}}, library, constants.dlopen.RTLD_LAZY | RTLD_NODELETE);
    } catch (error) {
      // It is no Node module, so Node always throws; this message means that the library itself was found and loaded.
      if (error instanceof Error && error.message.includes('did not self-register')) return;
    }
  }
}

function chromiumFiles(name: string): string[] {
  const chrome = process.env['CHROME_PATH'];
  const own = chrome !== undefined && existsSync(chrome) ? [dirname(realpathSync(chrome))] : [];
  return [...own, ...CHROMIUM_FOLDERS].map((folder) => join(folder, name)).filter((path) => existsSync(path));
}

/** Node 21 and later have a `navigator` of their own, which cannot be assigned but can be extended; Node 20 has none. */
function setNavigatorGPU(gpu: GPU | undefined): void {
  if (!('navigator' in globalThis)) {
    Object.defineProperty(globalThis, 'navigator', {value: {}, configurable: true, writable: true});
  }
  Object.defineProperty(globalThis.navigator, 'gpu', {value: gpu, configurable: true, writable: true});
}

/** TF.js registers its backend only if `navigator.gpu` exists at import; an earlier import left it unregistered. */
async function startBackend(gpu: GPU, wanted: readonly string[]): Promise<void> {
  const webgpu = await importPeer(
    '@tensorflow/tfjs-backend-webgpu',
    () => import('@tensorflow/tfjs-backend-webgpu'),
  );
  // Imported with navigator.gpu in place, TF.js has registered itself, on a device of its own features alone.
  if (isRegistered() && wanted.length > 0) tf.removeBackend(BACKEND);
  if (!isRegistered()) {
    tf.registerBackend(
      BACKEND,
      async () => {
        const {device, info} = await requestDevice(gpu, wanted);
        return new webgpu.WebGPUBackend(device, info);
      },
      BACKEND_PRIORITY,
    );
  }
  if (!(await tf.setBackend(BACKEND)))
    throw new Error('useNodeWebGPU: TF.js could not start its webgpu backend.');
  await tf.ready();
}

/** TF.js's type says that the factory is always there; it is null where the backend was never registered. */
function isRegistered(): boolean {
  const factory: unknown = tf.findBackendFactory(BACKEND);
  return typeof factory === 'function';
}

/** The device that TF.js requests for itself: its features and limits, from the backend's `base.ts` at 4.22, and those wanted. */
async function requestDevice(
  gpu: GPU,
  wanted: readonly string[],
): Promise<{device: GPUDevice; info: GPUAdapterInfo}> {
  const adapter = await gpu.requestAdapter({powerPreference: 'high-performance'});
  if (!adapter) throw new Error('useNodeWebGPU: the WebGPU adapter is gone.');
  const features = ['timestamp-query', 'bgra8unorm-storage', ...wanted] as GPUFeatureName[]; // Some have no name in the types yet.
  const limits = [
    'maxComputeWorkgroupStorageSize',
    'maxComputeWorkgroupsPerDimension',
    'maxStorageBufferBindingSize',
    'maxBufferSize',
    'maxComputeWorkgroupSizeX',
    'maxComputeInvocationsPerWorkgroup',
  ] as const;
  const device = await adapter.requestDevice({
    requiredFeatures: features.filter((feature) => adapter.features.has(feature)),
    requiredLimits: Object.fromEntries(limits.map((limit) => [limit, adapter.limits[limit]])),
  });
  rememberAdapter(device, adapter.info);
  return {device, info: adapter.info};
}

async function importPeer<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (cause) {
    throw new Error(`useNodeWebGPU needs the package ${name}: npm install ${name}`, {cause});
  }
}
