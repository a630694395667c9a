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

/** Starts a pump; undefined, with nothing read or written, if the system has no thread for it. */
export function startNativePump(
  addon: Addon,
  start: NonNullable<Addon["startPump"]>,
  key: KeyHandle,
  format: Uint8Array,
  direction: "seal" | "open",
  ends: PumpEnds,
): Pump | undefined {
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
  let handle = 0;
  let resolve: (result: PumpResult) => void = () => {};
  const done = new Promise<PumpResult>((settle) => {
    resolve = settle;
  });
  const onDone: PumpCallback = (
    status,
    errorNumber,
    frameCount,
    bytesRead,
    bytesWritten,
    plaintextLength,
  ) => {
    handle = 0;
    resolve({
      status: pumpStatuses[status] ?? "cancelled",
      errorNumber,
      frameCount,
      bytesRead,
      bytesWritten,
      plaintextLength,
    });
  };
  handle = start(key.handle, format, unshared(ends.head), new Uint8Array(numbers.buffer), onDone);
  if (handle === 0) return undefined;
  return {
    done,
    bytesRead: () => addon.pumpReadLength?.(handle) ?? 0,
    cancel: () => addon.cancelPump?.(handle),
  };
}
