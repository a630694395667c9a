// Random ranges of a large message, of a local file or over HTTP, several in flight, against plain reads of as much.
import { open } from "node:fs/promises";
import http from "node:http";
import { selectEngine } from "#frameseal/engine/select-engine.js";
import { openMessage } from "#frameseal/reader/message-reader.js";
import { Absent } from "../adaptor.ts";
import { benchKeyring } from "../adaptors/ours.ts";
import type { ChildTask } from "../child-protocol.ts";
import type { Workload } from "../workload.ts";
import { callsFor } from "./repeat.ts";

interface RangeReader {
  readonly length: number;
  read(start: number, end: number): Promise<Uint8Array>;
  figures?(): Promise<Readonly<Record<string, number>>>;
}

/** Of a file. `size` bytes a range; `chunkLength` is the step that offsets are multiples of: 1 for ranges at any byte. */
export async function createRanges(task: ChildTask): Promise<Workload> {
  const { place } = task.options;
  if (place === undefined) throw new Absent("no file to read ranges of");
  return createReads(task, await readerOf(task, place));
}

/** The same over HTTP; counts the requests. */
export async function createHttpRanges(task: ChildTask): Promise<Workload> {
  const { place } = task.options;
  if (place === undefined) throw new Absent("no server");
  return createReads(task, await httpReaderOf(task, place));
}

async function createReads(task: ChildTask, { length, read, figures }: RangeReader): Promise<Workload> {
  const { size, chunkLength: step } = task.options;
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
    ...(figures === undefined ? {} : { figures }),
  };
}

async function httpReaderOf(task: ChildTask, address: string): Promise<RangeReader> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: task.inFlight });
  let requests = 0;
  const send = async (method: string, headers: http.OutgoingHttpHeaders): Promise<http.IncomingMessage> => {
    requests += 1;
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      http.request(address, { agent, method, headers }, resolve).on("error", reject).end();
    });
    if ((response.statusCode ?? 0) >= 300) throw new Error(`HTTP status ${response.statusCode}`);
    return response;
  };
  const get = async (start: number, end: number): Promise<Uint8Array> => {
    const response = await send("GET", { range: `bytes=${start}-${end - 1}` });
    const bytes = Buffer.allocUnsafeSlow(end - start);
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) length += chunk.copy(bytes, length);
    return bytes.subarray(0, length);
  };
  const head = await send("HEAD", {});
  head.resume();
  const size = Number(head.headers["content-length"]);
  if (task.adaptor === "pass-through") return { length: size, read: get };
  requests = 0;
  const reader = await openMessage(
    { size, read: get },
    { keyring: benchKeyring, engine: selectEngine(task.options.engine) },
  );
  const toOpen = requests;
  let ranges = 0;
  requests = 0;
  return {
    length: reader.plaintextLength,
    read(start, end) {
      ranges += 1;
      return reader.read(start, end);
    },
    figures: async () => ({ "requests to open": toOpen, "requests a range": requests / ranges }),
  };
}

async function readerOf(task: ChildTask, file: string): Promise<RangeReader> {
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
