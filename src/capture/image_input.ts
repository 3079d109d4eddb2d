/** Images as inputs: uploaded as they are, then resized and normalised by one dispatch. */
import type {NamedSpec} from './values.js';

/** RGBA bytes, row-major, for places without canvas or video. */
export interface PixelData {
  readonly data: Uint8ClampedArray | Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Whatever WebGPU can upload (ImageBitmap, ImageData, canvas, video element, VideoFrame, image element), or raw pixels. */
export type ImageSource = GPUCopyExternalImageSource | PixelData;

export interface ImageOptions {
  /** Multiplies pixel values of 0 to 255, one for all channels or one per channel. Default 1/255; 1 for int32 inputs. */
  readonly scale?: number | readonly number[];
  /** Added after that. Default 0. */
  readonly offset?: number | readonly number[];
  /** As in `tf.image.resizeBilinear`. Default false. */
  readonly alignCorners?: boolean;
  /** As in `tf.image.resizeBilinear`. Default false. */
  readonly halfPixelCenters?: boolean;
  /** Default 'rgb'. With one channel the input is grey: 0.299 R + 0.587 G + 0.114 B. */
  readonly channels?: 'rgb' | 'bgr';
}

/** The arithmetic of TF.js's resize_bilinear, from a texture, followed by value * scale + offset. */
const RESIZE = /* wgsl */ `
struct Params {
  size: vec2f,       // of the result: width, height
  step: vec2f,       // pixels of the image for one of the result
  shift: vec2f,      // 0.5 with half pixel centres, else 0
  channels: f32,
  isInteger: f32,
  scale: vec4f,
  offset: vec4f,
  order: vec4f,      // channel of the image for each channel of the result
}
@group(0) @binding(0) var image: texture_2d<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

fn pixel(at: vec2f) -> vec4f {
  return round(textureLoad(image, vec2i(at), 0) * 255.0);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let at = vec2f(id.xy);
  if (any(at >= params.size)) { return; }
  let last = vec2f(textureDimensions(image)) - 1.0;
  let source = (at + params.shift) * params.step - params.shift;
  let low = max(floor(source), vec2f(0.0));
  let high = min(ceil(source), last);
  let part = source - low;
  let top = mix(pixel(low), pixel(vec2f(high.x, low.y)), part.x);
  let bottom = mix(pixel(vec2f(low.x, high.y)), pixel(high), part.x);
  let colour = mix(top, bottom, part.y);
  let channels = u32(params.channels);
  let base = (id.y * u32(params.size.x) + id.x) * channels;
  for (var c = 0u; c < channels; c++) {
    var value = colour[u32(params.order[c])];
    if (channels == 1u) { value = dot(colour.rgb, vec3f(0.299, 0.587, 0.114)); }
    value = value * params.scale[c] + params.offset[c];
    // Bits, because a small integer in an f32 is a denormal number, which a GPU may flush to zero.
    result[base + c] = select(bitcast<u32>(value), bitcast<u32>(i32(value)), params.isInteger > 0.0);
  }
}
`;

const pipelines = new WeakMap<GPUDevice, GPUComputePipeline>();

function pipelineOf(device: GPUDevice): GPUComputePipeline {
  const known = pipelines.get(device);
  if (known) return known;
  const module = device.createShaderModule({label: 'capture image', code: RESIZE});
  const compute = {module, entryPoint: 'main'};
  const pipeline = device.createComputePipeline({label: 'capture image', layout: 'auto', compute});
  pipelines.set(device, pipeline);
  return pipeline;
}

export const isPixelData = (source: ImageSource): source is PixelData =>
  'data' in source && !isImageData(source);

const isImageData = (source: ImageSource): source is ImageData =>
  typeof ImageData !== 'undefined' && source instanceof ImageData;

/** Width and height in pixels, of whatever kind of image. */
function sizeOf(source: ImageSource): {width: number; height: number} {
  if ('videoWidth' in source) return {width: source.videoWidth, height: source.videoHeight};
  if ('naturalWidth' in source) return {width: source.naturalWidth, height: source.naturalHeight};
  if ('displayWidth' in source) return {width: source.displayWidth, height: source.displayHeight};
  return {width: source.width, height: source.height};
}

/** Its size in pixels. @throws where it is no image at all, is empty, or has fewer bytes than pixels. */
export function checkImage({name}: NamedSpec, source: ImageSource): {width: number; height: number} {
  const {width, height} = sizeOf(source);
  if (typeof width !== 'number' || typeof height !== 'number') {
    const {constructor} = source as object;
    throw new Error(
      `Capture: input '${name}' is a ${constructor.name}. It takes a tensor, a GPUBuffer, a Float32Array, Int32Array, Uint8Array or ` +
        'Uint8ClampedArray, an image, or {data, width, height}.',
    );
  }
  if (width === 0 || height === 0)
    throw new Error(`Capture: the image for input '${name}' is empty. Wait until it has loaded.`);
  if (isPixelData(source) && source.data.length !== 4 * width * height) {
    throw new Error(
      `Capture: the image for input '${name}' is ${width}×${height}, so ${4 * width * height} bytes of RGBA, ` +
        `but it has ${source.data.length}.`,
    );
  }
  return {width, height};
}

interface Upload {
  readonly width: number;
  readonly height: number;
  readonly texture: GPUTexture;
  readonly group: GPUBindGroup;
}

/** The way of images into one input buffer. Keeps the texture until an image of another size comes. */
export class ImageInput {
  readonly #device: GPUDevice;
  readonly #spec: NamedSpec;
  readonly #target: GPUBuffer;
  readonly #options: ImageOptions;
  readonly #params: GPUBuffer;
  #upload: Upload | undefined;

  /** @throws where the input is not an image: [1, H, W, C] or [H, W, C] with 1, 3 or 4 channels. */
  constructor(
    device: GPUDevice,
    spec: NamedSpec,
    {target, options}: {target: GPUBuffer; options: ImageOptions},
  ) {
    imageShape(spec);
    this.#device = device;
    this.#spec = spec;
    this.#target = target;
    this.#options = options;
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.#params = device.createBuffer({label: 'capture image', size: 80, usage});
  }

  /** Uploads the image; the returned function encodes the dispatch that fills the input. */
  stage(source: ImageSource): (pass: GPUComputePassEncoder) => void {
    const {width, height} = checkImage(this.#spec, source);
    const most = this.#device.limits.maxTextureDimension2D;
    if (width > most || height > most) {
      throw new Error(
        `Capture: the image for input '${this.#spec.name}' is ${width}×${height}, but textures of this device have at most ${most} ` +
          'pixels on a side. Make it smaller.',
      );
    }
    const upload = this.#uploadOf(width, height);
    const {texture, group} = upload;
    const extent = [width, height];
    if (isPixelData(source)) {
      const data = source.data as GPUAllowSharedBufferSource;
      this.#device.queue.writeTexture({texture}, data, {bytesPerRow: 4 * width}, extent);
    } else {
      this.#copyImage(source, upload);
    }
    const {columns, rows} = imageShape(this.#spec);
    return (pass) => {
      pass.setPipeline(pipelineOf(this.#device));
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(columns / 8), Math.ceil(rows / 8));
    };
  }

  destroy(): void {
    this.#upload?.texture.destroy();
    this.#params.destroy();
  }

  #copyImage(source: Exclude<ImageSource, PixelData>, {texture, width, height}: Upload): void {
    const copy = (image: GPUCopyExternalImageSource): void =>
      this.#device.queue.copyExternalImageToTexture({source: image}, {texture}, [width, height]);
    try {
      copy(source);
    } catch (error) {
      // Without hardware decoding a browser may be unable to copy a video frame; a canvas can take it everywhere.
      const isFrame =
        !isImageData(source) && error instanceof DOMException && error.name === 'OperationError';
      const canvas = isFrame ? new OffscreenCanvas(width, height) : undefined;
      const context = canvas?.getContext('2d');
      if (!isFrame || !canvas || !context) throw error;
      context.drawImage(source, 0, 0, width, height);
      copy(canvas);
    }
  }

  #uploadOf(width: number, height: number): Upload {
    const known = this.#upload;
    if (known?.width === width && known.height === height) return known;
    known?.texture.destroy();
    const {TEXTURE_BINDING, COPY_DST, RENDER_ATTACHMENT} = GPUTextureUsage;
    const usage = TEXTURE_BINDING | COPY_DST | RENDER_ATTACHMENT;
    const texture = this.#device.createTexture({size: [width, height], format: 'rgba8unorm', usage});
    const resources = [texture.createView(), {buffer: this.#target}, {buffer: this.#params}];
    const group = this.#device.createBindGroup({
      layout: pipelineOf(this.#device).getBindGroupLayout(0),
      entries: resources.map((resource, binding) => ({binding, resource})),
    });
    this.#device.queue.writeBuffer(this.#params, 0, paramsOf(this.#spec, this.#options, {width, height}));
    this.#upload = {width, height, texture, group};
    return this.#upload;
  }
}

function imageShape({name, shape}: NamedSpec): {rows: number; columns: number; channels: number} {
  const [rows = 0, columns = 0, channels = 0] = shape.slice(-3);
  const isImage = shape.length === 3 || (shape.length === 4 && shape[0] === 1);
  if (!isImage || ![1, 3, 4].includes(channels)) {
    throw new Error(
      `Capture: input '${name}' has shape [${shape.join(', ')}], which no image fits. ` +
        'An image fills [1, H, W, C] or [H, W, C] with 1, 3 or 4 channels.',
    );
  }
  return {rows, columns, channels};
}

function paramsOf(
  spec: NamedSpec,
  options: ImageOptions,
  image: {width: number; height: number},
): Float32Array<ArrayBuffer> {
  const {offset = 0, alignCorners = false, halfPixelCenters = false, channels: order = 'rgb'} = options;
  const {scale = spec.dtype === 'float32' ? 1 / 255 : 1} = options;
  const {rows, columns, channels} = imageShape(spec);
  const step = (from: number, to: number): number =>
    alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
  const perChannel = (value: number | readonly number[]): number[] =>
    typeof value === 'number' ? [value, value, value, value] : [0, 1, 2, 3].map((c) => value[c] ?? 0);
  return new Float32Array([
    ...[columns, rows],
    ...[step(image.width, columns), step(image.height, rows)],
    ...(halfPixelCenters ? [0.5, 0.5] : [0, 0]),
    ...[channels, spec.dtype === 'float32' ? 0 : 1],
    ...perChannel(scale),
    ...perChannel(offset),
    ...(order === 'rgb' ? [0, 1, 2, 3] : [2, 1, 0, 3]),
  ]);
}
