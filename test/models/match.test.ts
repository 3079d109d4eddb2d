/** Fitting a checkpoint to an architecture: who wrote it, and one error with all that does not fit. */
import {
  blobSource,
  type Checkpoint,
  CheckpointError,
  makeNetwork,
  matchCheckpoint,
  openSafetensors,
  tensorsOf,
} from '../../models/index.js';
import {fileShape} from '../../models/checkpoint/layouts.js';
import {nameTensors} from '../../models/naming/naming.js';
import {f32, writeSafetensors, type WrittenTensor} from '../support/write_safetensors.js';
import {TIMM_RES_NET_BASIC} from './tiny_architectures.js';

const CLASSES = 3;

/** Tensors of the tiny ResNet as timm names them, filled with ones. */
function tensors(): Record<string, WrittenTensor> {
  const network = makeNetwork(TIMM_RES_NET_BASIC, {classes: CLASSES});
  const naming = TIMM_RES_NET_BASIC.sources[0]?.naming;
  if (!naming) throw new Error('The tiny ResNet has no source.');
  const named = nameTensors(naming, network, tensorsOf(network));
  return Object.fromEntries(
    named.map(({tensor, names}) => {
      const shape = fileShape(tensor, 'torch');
      return [names[0] ?? '', f32(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1))];
    }),
  );
}

const open = (all: Record<string, WrittenTensor>): Promise<Checkpoint> =>
  openSafetensors(blobSource(new Blob([writeSafetensors(all)]), 'tiny.safetensors'));

describe('a checkpoint', () => {
  it('tells its writer and its number of classes', async () => {
    const counter: WrittenTensor = {dtype: 'I64', shape: [], bytes: new Uint8Array(8)};
    const matched = matchCheckpoint(
      TIMM_RES_NET_BASIC,
      await open({...tensors(), 'bn1.num_batches_tracked': counter}),
    );
    expect(matched.source.name).toBe('timm');
    expect(matched.network.classes).toBe(CLASSES);
  });

  it('is read behind the prefix of a wrapper', async () => {
    const wrapped = Object.fromEntries(
      Object.entries(tensors()).map(([name, tensor]) => [`module.${name}`, tensor]),
    );
    const {network, weights} = matchCheckpoint(TIMM_RES_NET_BASIC, await open(wrapped));
    const [first] = tensorsOf(network);
    expect(first && (await weights(first)).length).toBe(7 * 7 * 3 * 4);
  });

  it('may keep a classifier that nobody wants', async () => {
    expect(matchCheckpoint(TIMM_RES_NET_BASIC, await open(tensors()), {classes: 0}).network.classes).toBe(0);
  });

  it('lists what is missing, extra and misshapen in one error', async () => {
    const all = tensors();
    delete all['layer2.0.conv1.weight'];
    delete all['bn1.running_mean'];
    const changed = {...all, 'layer9.weight': f32([1], [0]), 'layer1.0.bn1.bias': f32([5], [0, 0, 0, 0, 0])};
    const checkpoint = await open(changed);
    expect(() => matchCheckpoint(TIMM_RES_NET_BASIC, checkpoint)).toThrowError(
      CheckpointError,
      new RegExp(
        '2 missing: bn1.running_mean, layer2.0.conv1.weight; 1 extra: layer9.weight; ' +
          '1 of another shape: layer1.0.bn1.bias is \\[5\\] but must be \\[4\\]',
      ),
    );
  });

  it('of other classes than asked for is refused', async () => {
    const checkpoint = await open(tensors());
    expect(() => matchCheckpoint(TIMM_RES_NET_BASIC, checkpoint, {classes: 7})).toThrowError(
      CheckpointError,
      /fc.weight is \[3, 32\] but must be \[7, 32\]/,
    );
  });

  it('of an unknown writer is refused', async () => {
    const checkpoint = await open(tensors());
    expect(() => matchCheckpoint(TIMM_RES_NET_BASIC, checkpoint, {from: 'keras'})).toThrowError(
      CheckpointError,
      /of 'keras' is known; known are timm, huggingface/,
    );
  });
});
