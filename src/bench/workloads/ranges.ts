// Random ranges of a large local message, several in flight, against plain reads of the same length.
import { open } from "node:fs/promises";
import { selectEngine } from "../../engine/select-engine.ts";
import { openMessage } from "../../stream/message-reader.ts";
import { Absent } from "../adaptor.ts";
import { benchKeyring } from "../adaptors/ours.ts";
import type { ChildTask, Workload } from "../child.ts";
import { callsFor } from "./buffers.ts";

/** `size` bytes a range; `chunkLength` is the step that offsets are multiples of: 1 for ranges at any byte. */
export async function createRanges(task: ChildTask): Promise<Workload> {
  const { size, chunkLength: step } = task.options;
  if (task.file === undefined) throw new Absent("no file to read ranges of");
  const { length, read } = await readerOf(task, task.file);
  const places = Math.floor((length - size) / step);
  let state = 1;
  // The same offsets for all subjects (a multiplicative congruential generator, Lewis, Goodman and Miller 1969).
  const nextOffset = (): number => {
    state = (state * 48_271) % 2_147_483_647;
    return Math.floor((state / 2_147_483_647) * places) * step;
  };
  const run = async (count: number): Promise<void> => {
    let left = count;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const offset = nextOffset();
        const bytes = await read(offset, offset + size);
        if (bytes.length !== size) throw new Error(`${bytes.length} bytes came instead of ${size}`);
      }
    };
    await Promise.all(Array.from({ length: task.inFlight }, lane));
  };
  const calls = await callsFor(task.roundSeconds, run);
  const none = (): never => {
    throw new Error("internal error: ranges exchange nothing");
  };
  return {
    produce: none,
    accept: none,
    async round() {
      await run(calls);
      return calls;
    },
  };
}

async function readerOf(task: ChildTask, file: string) {
  if (task.adaptor === "our streams") {
    const reader = await openMessage(file, {
      keyring: benchKeyring,
      engine: selectEngine(task.options.engine),
    });
    return {
      length: reader.plaintextLength,
      read: (start: number, end: number): Promise<Uint8Array> => reader.read(start, end),
    };
  }
  const handle = await open(file, "r");
  const { size: length } = await handle.stat();
  return {
    length,
    async read(start: number, end: number): Promise<Uint8Array> {
      const { buffer, bytesRead } = await handle.read(
        Buffer.allocUnsafeSlow(end - start),
        0,
        end - start,
        start,
      );
      return buffer.subarray(0, bytesRead);
    },
  };
}
