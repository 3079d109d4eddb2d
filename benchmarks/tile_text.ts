/** Names of a matrix product's tile, as the files of results and `--tiles` have them: `M.N.K.THREAD_M.THREAD_N.SPLIT_K[.direct|.double][/PARTS]`. */
import type {MatmulTile} from '../kernels/webgpu/tiling.js';

const SIZES = ['TILE_M', 'TILE_N', 'TILE_K', 'THREAD_M', 'THREAD_N', 'SPLIT_K'] as const;

export function tileText(tile: MatmulTile): string {
  const form = tile.DIRECT ? '.direct' : tile.BUFFERS ? '.double' : '';
  return `${SIZES.map((size) => tile[size]).join('.')}${form}${tile.PARTS > 1 ? `/${tile.PARTS}` : ''}`;
}

/** @throws where the text is no such name. */
export function tileFrom(text: string): MatmulTile {
  const [, sizes = '', form, PARTS = 1] =
    /^((?:\d+\.){5}\d+)(\.direct|\.double)?(?:\/(\d+))?$/.exec(text) ?? [];
  if (!sizes) throw new Error(`'${text}' is no tile; write TILE_M.TILE_N.TILE_K.THREAD_M.THREAD_N.SPLIT_K[.direct|.double][/PARTS].`); // prettier-ignore
  const [TILE_M = 0, TILE_N = 0, TILE_K = 0, THREAD_M = 0, THREAD_N = 0, SPLIT_K = 0] = sizes.split('.').map(Number); // prettier-ignore
  const tile = {TILE_M, TILE_N, TILE_K, THREAD_M, THREAD_N, SPLIT_K, PARTS: Number(PARTS)};
  return {...tile, ...(form === '.direct' && {DIRECT: true}), ...(form === '.double' && {BUFFERS: 2})};
}
