/** A device that may be lost, and what to say of errors that come of it. */

export class DeviceLostError extends Error {}

/** Names of the errors by which WebGPU ends what a lost device will not do; it may tell the loss a little later. */
const BY_THE_DEVICE: readonly unknown[] = ['AbortError', 'OperationError'];
const MOST_DELAY_MS = 100;

/** Refers to nothing but the device, which keeps it as long as it lives. */
export class DeviceLoss {
  readonly #device: GPUDevice;
  #info: GPUDeviceLostInfo | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
    void device.lost.then((info) => (this.#info = info));
  }

  get isLost(): boolean {
    return this.#info !== undefined;
  }

  /** @throws {DeviceLostError} where the device is lost. */
  check(cause?: unknown): void {
    if (!this.#info) return;
    const {reason, message} = this.#info;
    throw new DeviceLostError(
      `Capture: the GPU device was lost (${reason}: ${message}). Call recover() to record again on a new device.`,
      {cause},
    );
  }

  /** @throws {DeviceLostError} for errors of `run` that come of the loss, and all others as they are. */
  async explain<Result>(run: () => Promise<Result>): Promise<Result> {
    try {
      return await run();
    } catch (error) {
      if (error instanceof DeviceLostError) throw error;
      if (BY_THE_DEVICE.includes((error as {name?: unknown} | undefined)?.name)) {
        await Promise.race([
          this.#device.lost,
          new Promise((resolve) => void setTimeout(resolve, MOST_DELAY_MS)),
        ]);
      }
      this.check(error);
      throw error;
    }
  }
}
