/** Thrown for a model that cannot be read: the message names the place, what was found, and what to do. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}
