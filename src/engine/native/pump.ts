// A whole message from descriptor to descriptor, in the addon.
import { unshared } from "../chunk-cursor.ts";
import type { Pump, PumpEnds, PumpResult, PumpStatus } from "../engine.ts";
import type { Addon, KeyHandle, PumpCallback } from "./addon.ts";

/** In the order of the numbers that the addon gives. */
const pumpStatuses: readonly PumpStatus[] = [
  "done",
  "cancelled",
  "not authentic",
  "truncated",
  "trailing data",
  "too long",
  "too many frames",
  "read failed",
  "write failed",
];

/** Starts at once. */
export class NativePump implements Pump {
  readonly done: Promise<PumpResult>;
  readonly #addon: Addon;
  #handle = 0;

  constructor(
    addon: Addon,
    start: NonNullable<Addon["startPump"]>,
    key: KeyHandle,
    format: Uint8Array,
    direction: "seal" | "open",
    ends: PumpEnds,
  ) {
    this.#addon = addon;
    const { input, output, inputAt, outputAt, reservedLength, maxFrameCount, threads } = ends;
    const maxLength = Math.min(ends.maxPlaintextLength, Number.MAX_SAFE_INTEGER);
    const numbers = Float64Array.of(
      direction === "seal" ? 0 : 1,
      input,
      output,
      inputAt,
      outputAt,
      reservedLength,
      maxLength,
      maxFrameCount,
      threads,
    );
    this.done = new Promise((resolve) => {
      const onDone: PumpCallback = (
        status,
        errorNumber,
        frameCount,
        bytesRead,
        bytesWritten,
        plaintextLength,
      ) => {
        this.#handle = 0;
        resolve({
          status: pumpStatuses[status] ?? "cancelled",
          errorNumber,
          frameCount,
          bytesRead,
          bytesWritten,
          plaintextLength,
        });
      };
      this.#handle = start(key.handle, format, unshared(ends.head), new Uint8Array(numbers.buffer), onDone);
    });
  }
  bytesRead(): number {
    return this.#addon.pumpReadLength?.(this.#handle) ?? 0;
  }
  cancel(): void {
    this.#addon.cancelPump?.(this.#handle);
  }
}
