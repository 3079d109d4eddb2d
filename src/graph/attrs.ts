/**
 * Attributes of a GraphDef node in JSON. They are kept as the file has them, so that an untouched node is written back
 * verbatim, and read here on demand. Numbers may be strings, strings are base64 or character codes, types are names or enum
 * values: converters differ.
 */

export interface ShapeDef {
  readonly unknownRank?: boolean;
  readonly dim?: readonly {readonly size?: string | number}[];
}

export interface AttrDef {
  readonly s?: string | readonly number[];
  readonly i?: string | number;
  readonly f?: string | number;
  readonly b?: boolean;
  readonly type?: string | number;
  readonly shape?: ShapeDef;
  readonly func?: {readonly name?: string};
  readonly list?: {
    readonly type?: readonly (string | number)[];
    readonly s?: readonly (string | readonly number[])[];
    readonly i?: readonly (string | number)[];
    readonly f?: readonly (string | number)[];
    readonly shape?: readonly ShapeDef[];
  };
}

export type Attrs = Readonly<Record<string, AttrDef | undefined>>;

const decodeText = (text: string | readonly number[]): string =>
  typeof text === 'string' ? atob(text) : String.fromCharCode(...text);

export const textAttr = (attrs: Attrs, name: string, otherwise = ''): string => {
  const text = attrs[name]?.s;
  return text === undefined ? otherwise : decodeText(text);
};

export const textsAttr = (attrs: Attrs, name: string): readonly string[] =>
  (attrs[name]?.list?.s ?? []).map(decodeText);

export const numberAttr = (attrs: Attrs, name: string, otherwise: number): number => {
  const value = attrs[name]?.f ?? attrs[name]?.i;
  return value === undefined ? otherwise : Number(value);
};

export const numbersAttr = (attrs: Attrs, name: string): readonly number[] =>
  (attrs[name]?.list?.i ?? attrs[name]?.list?.f ?? []).map(Number);

export const flagAttr = (attrs: Attrs, name: string, otherwise = false): boolean =>
  attrs[name]?.b ?? otherwise;

/** Sizes with -1 for unknown ones, or undefined where not even the rank is known. */
export function shapeAttr(attrs: Attrs, name: string): readonly number[] | undefined {
  const shape = attrs[name]?.shape;
  if (!shape || shape.unknownRank) return undefined;
  return (shape.dim ?? []).map(({size}) => Number(size ?? 0));
}

/** `DataType` of TensorFlow's types.proto, as far as TF.js has them. */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  1: 'DT_FLOAT',
  3: 'DT_INT32',
  4: 'DT_UINT8',
  7: 'DT_STRING',
  8: 'DT_COMPLEX64',
  9: 'DT_INT64',
  10: 'DT_BOOL',
};

export const typeAttr = (attrs: Attrs, name: string): string => {
  const type = attrs[name]?.type ?? '';
  return typeof type === 'number' ? (TYPE_NAMES[type] ?? '') : type;
};

/** The inverse of textAttr. Only ASCII goes in: stage records are made of it. */
export const textDef = (text: string): AttrDef => ({s: btoa(text)});
export const shapeDef = (shape: readonly number[]): AttrDef => ({
  shape: {dim: shape.map((size) => ({size: String(size)}))},
});
