/** Networks small enough to be trained on toy data in seconds or minutes. */
import {convFirst} from '../models/families/conv_first.js';
import {invertedResidualNet} from '../models/families/inverted_residual.js';
import {type Architecture, findArchitecture} from '../models/index.js';

export const SMALL_NETWORKS: readonly Architecture[] = [
  {
    ...findArchitecture('mobilenetv2'),
    name: 'small MobileNetV2',
    units: (conventions, classes) =>
      invertedResidualNet(
        {
          stem: 16,
          act: 'relu6',
          stages: [
            [{block: 'mb', k: 3, s: 1, t: 1, c: 16, n: 1}],
            [{block: 'mb', k: 3, s: 2, t: 4, c: 24, n: 2}],
            [{block: 'mb', k: 3, s: 2, t: 4, c: 48, n: 3}],
          ],
        },
        conventions,
        classes,
      ),
  },
  {
    ...findArchitecture('convfirst_pico'),
    name: 'small ConvFirst',
    units: (conventions, classes) => convFirst({width: 32, depths: [2, 2], size: 32}, conventions, classes),
  },
];
