/** Images as inputs: the capture's own resize and normalisation against TF.js's ops. */
import * as tf from '@tensorflow/tfjs-core';
import {capture, type ImageOptions, type ImageSource, type PixelData} from '../../src/capture/index.js';
import {onBackend} from '../support/environment.js';
import {expectClose} from '../support/expect_close.js';
import {seededRandom} from '../support/random.js';

function noise(width: number, height: number, seed: number): PixelData {
  const next = seededRandom(seed);
  const data = Uint8ClampedArray.from({length: 4 * width * height}, (_, i) =>
    i % 4 === 3 ? 255 : 256 * next(),
  );
  return {data, width, height};
}

const identity = (x: tf.Tensor): tf.Tensor => tf.mul(x, tf.scalar(1));

/** The identity too, but never by the same commands, so that it runs plainly. */
function changing(): (x: tf.Tensor) => tf.Tensor {
  let calls = 0;
  return (x) => tf.sub(tf.add(x, tf.scalar(++calls)), tf.scalar(calls));
}

async function expected(
  {data, width, height}: PixelData,
  size: [number, number],
  options: ImageOptions,
): Promise<tf.TypedArray> {
  const {alignCorners, halfPixelCenters} = options;
  const result = tf.tidy(() => {
    const rgba = tf.tensor3d(Float32Array.from(data), [height, width, 4]);
    const rgb = tf.slice(rgba, [0, 0, 0], [height, width, 3]);
    const resized: tf.Tensor = tf.image.resizeBilinear(rgb, size, alignCorners, halfPixelCenters);
    const ordered = options.channels === 'bgr' ? tf.reverse(resized, 2) : resized;
    const [scale, offset] = [options.scale ?? 1 / 255, options.offset ?? 0].map((value) =>
      tf.tensor1d(typeof value === 'number' ? [value, value, value] : [...value]),
    ) as [tf.Tensor, tf.Tensor];
    return tf.add(tf.mul(ordered, scale), offset);
  });
  const values = await result.data();
  result.dispose();
  return values;
}

const CASES: readonly (readonly [string, ImageOptions])[] = [
  ['as it is by default', {}],
  ['with aligned corners', {alignCorners: true}],
  ['with half pixel centres', {halfPixelCenters: true}],
  ['per channel, in the order bgr', {channels: 'bgr', scale: [0.01, 0.02, 0.03], offset: [-1, 0, 1]}],
];

onBackend('webgpu', 'capture of images', () => {
  for (const [name, image] of CASES) {
    it(`resizes and normalises ${name}`, async () => {
      const captured = await capture(identity, {shape: [1, 6, 9, 3], dtype: 'float32'}, {image});
      // Another size each time: smaller, the same, larger.
      for (const [width, height] of [
        [5, 4],
        [9, 6],
        [31, 17],
        [31, 17],
      ] as const) {
        const pixels = noise(width, height, width);
        const [values] = await captured.predictAsync(pixels);
        await expectClose(values as tf.TypedArray, await expected(pixels, [6, 9], image), {
          tolerance: 1e-5,
          name,
        });
      }
      captured.dispose();
    });
  }

  it('fills an int32 input with pixel values', async () => {
    const captured = await capture(identity, {shape: [1, 4, 4, 3], dtype: 'int32'});
    const pixels = noise(4, 4, 1);
    const [values] = await captured.predictAsync(pixels);
    expect([...(values ?? [])]).toEqual([...pixels.data].filter((_, i) => i % 4 !== 3));
    captured.dispose();
  });

  it('keeps images in flight apart, although their sizes differ', async () => {
    const captured = await capture(identity, {shape: [1, 6, 9, 3], dtype: 'float32'}, {inFlight: 4});
    const images = [noise(9, 6, 1), noise(9, 6, 2), noise(20, 10, 3), noise(5, 4, 4)];
    const results = await Promise.all(images.map((image) => captured.predictAsync(image)));
    for (const [i, image] of images.entries()) {
      const values = results[i]?.[0] as tf.TypedArray;
      await expectClose(values, await expected(image, [6, 9], {}), {tolerance: 1e-5, name: `image ${i}`});
    }
    captured.dispose();
  });

  it('does the same where the function runs plainly', async () => {
    const image = {scale: 1, channels: 'bgr'} as const;
    const captured = await capture(changing(), {shape: [1, 6, 9, 3], dtype: 'float32'}, {image});
    expect(captured.mode).toBe('plain');
    const pixels = noise(5, 4, 1);
    const [values] = await captured.predictAsync(pixels);
    await expectClose(values as tf.TypedArray, await expected(pixels, [6, 9], image), {tolerance: 1e-5});
    captured.dispose();
  });

  it('refuses an image for an input that is none, and an empty image', async () => {
    const flat = await capture(identity, {shape: [4], dtype: 'float32'});
    expect(() => flat.predict(noise(2, 2, 1))).toThrowError(/\[4\].*no image fits/);
    flat.dispose();
    const captured = await capture(identity, {shape: [1, 4, 4, 3], dtype: 'float32'});
    expect(() => captured.predict({data: new Uint8Array(0), width: 0, height: 0})).toThrowError(/empty/);
    captured.dispose();
  });

  if (typeof document !== 'undefined') {
    it('takes a canvas of the page, and a video that plays', async () => {
      const captured = await capture(identity, {shape: [1, 8, 8, 3], dtype: 'float32'}, {image: {scale: 1}});
      const canvas = document.createElement('canvas');
      canvas.width = canvas.height = 64;
      const context = canvas.getContext('2d') as CanvasRenderingContext2D;
      const video = document.createElement('video');
      video.muted = true;
      video.srcObject = canvas.captureStream();
      const paint = setInterval(() => {
        context.fillStyle = '#c08040';
        context.fillRect(0, 0, 64, 64);
      }, 20);
      await video.play();
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      const centre = async (source: ImageSource): Promise<number[]> => {
        const [values] = await captured.predictAsync(source);
        return [...(values ?? [])].slice(108, 111);
      };
      expect(await centre(canvas)).toEqual([192, 128, 64]);
      // Video is converted to YUV and back.
      (await centre(video)).forEach((value, i) => {
        expect(Math.abs(value - ([192, 128, 64][i] ?? 0)))
          .withContext(`channel ${i}`)
          .toBeLessThan(8);
      });
      clearInterval(paint);
      video.srcObject = null;
      captured.dispose();
    });
  }

  if (typeof OffscreenCanvas !== 'undefined') {
    for (const mode of ['replay', 'plain']) {
      it(`takes canvas, ImageBitmap, ImageData and VideoFrame in mode ${mode}`, async () => {
        const run = mode === 'replay' ? identity : changing();
        const captured = await capture(run, {shape: [1, 6, 9, 3], dtype: 'float32'});
        expect(captured.mode).toBe(mode);
        const pixels = noise(20, 10, 5);
        const imageData = new ImageData(Uint8ClampedArray.from(pixels.data), 20, 10);
        const canvas = new OffscreenCanvas(20, 10);
        canvas.getContext('2d')?.putImageData(imageData, 0, 0);
        const bitmap = await createImageBitmap(imageData);
        const layout = {format: 'RGBA', codedWidth: 20, codedHeight: 10, timestamp: 0} as const;
        const frame = new VideoFrame(Uint8Array.from(pixels.data), layout);
        const want = await expected(pixels, [6, 9], {});
        for (const source of [canvas, bitmap, imageData]) {
          const [values] = await captured.predictAsync(source);
          await expectClose(values as tf.TypedArray, want, {tolerance: 1e-5, name: source.constructor.name});
        }
        // A frame may be converted to YUV and back.
        const [values] = await captured.predictAsync(frame);
        await expectClose(values as tf.TypedArray, want, {tolerance: 0.05, name: 'VideoFrame'});
        frame.close();
        bitmap.close();
        captured.dispose();
      });
    }
  }
});
