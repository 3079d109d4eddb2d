/** Replaces methods of single objects, and puts the originals back. Knows nothing of what it replaces. */

type Method = (...args: never[]) => unknown;

export class MethodHooks {
  readonly #undo: (() => void)[] = [];

  /** `wrap` gets the original, bound to `target`, and returns what stands in for it. */
  replace<Target extends object, Name extends keyof Target>(
    target: Target,
    name: Name,
    wrap: (original: Target[Name] & Method) => Target[Name],
  ): void {
    const own = Object.getOwnPropertyDescriptor(target, name);
    const original = (target[name] as Method).bind(target) as Target[Name] & Method;
    Object.defineProperty(target, name, {value: wrap(original), configurable: true, writable: true});
    this.#undo.push(() => {
      if (own) Object.defineProperty(target, name, own);
      else Reflect.deleteProperty(target, name);
    });
  }

  /** The last replaced comes first, so that one object may be hooked twice. */
  remove(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}
