/** Thrown for a layers model that cannot be expressed as a graph: the message names the layer. The model itself may be fine. */
export class LayersError extends Error {
  override readonly name = 'LayersError';
}
