// Streams: bytes from memory through a Transform into a sink that drops them.
import { pipeline } from "node:stream/promises";
import { Absent, type Adaptor, type StreamSubject } from "../adaptor.ts";
import { streamAdaptors } from "../adaptors/table.ts";
import type { ChildTask } from "../child-protocol.ts";
import type { Workload } from "../workload.ts";
import { callsFor } from "./repeat.ts";
import { agreementBytes, benchBytes, mustBeEqual, NullSink, sourceOf } from "./source.ts";

const SOURCE_LENGTH = 4 * 1024 * 1024;
const WARM_SECONDS = 0.6;
/** Longer rounds than others: after each pause memory has to come back into the caches, and collections come late. */
const ROUND_FACTOR = 2;
const CONCURRENT_ROUND_FACTOR = 4;
/** From here on one message fills a round, and a part of one warms up. */
const LONG = 2 ** 30;

async function subjectOf(task: ChildTask): Promise<StreamSubject> {
  const adaptor = (streamAdaptors as Readonly<Record<string, Adaptor<StreamSubject>>>)[task.adaptor];
  if (adaptor === undefined) throw new Absent(`no such adaptor: ${task.adaptor}`);
  return adaptor.create(task.options);
}

/** One message of `size` bytes at a time. */
export async function createStreams(
  task: ChildTask,
): Promise<Omit<Workload, "round"> & { round(): Promise<number> }> {
  const subject = await subjectOf(task);
  const { size, chunkLength, sourceLength = SOURCE_LENGTH } = task.options;
  const plaintext = benchBytes(Math.min(size, sourceLength));
  let input = plaintext;
  let inputLength = size;
  if (task.operation === "open") {
    input = await collect(subject, benchBytes(size), chunkLength, "seal");
    inputLength = input.length;
  }
  const once = async (length = inputLength): Promise<void> => {
    const stream = task.operation === "seal" ? subject.sealStream() : subject.openStream();
    const sink = new NullSink(subject.recycle);
    await pipeline(sourceOf(input, chunkLength, length), stream, sink);
    if (sink.length < (task.operation === "open" ? size : length))
      throw new Error(`only ${sink.length} bytes came out`);
  };
  const repeated = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await once();
  };
  const calls = size < LONG ? await callsFor(task.roundSeconds * ROUND_FACTOR, repeated, WARM_SECONDS) : 1;
  if (size >= LONG) await once(LONG / 4);
  return {
    async round() {
      await repeated(calls);
      return calls * size;
    },
    produce: (length) => collect(subject, agreementBytes(length), chunkLength, "seal"),
    accept: async (length, sealed) =>
      mustBeEqual(await collect(subject, sealed, chunkLength, "open"), agreementBytes(length)),
  };
}

async function collect(
  subject: StreamSubject,
  bytes: Uint8Array,
  chunkLength: number,
  operation: "seal" | "open",
): Promise<Uint8Array> {
  const stream = operation === "seal" ? subject.sealStream() : subject.openStream();
  const chunks: Uint8Array[] = [];
  await pipeline(sourceOf(bytes, chunkLength), stream, async (output: AsyncIterable<Uint8Array>) => {
    for await (const chunk of output) chunks.push(chunk);
  });
  return Buffer.concat(chunks);
}

/** `inFlight` streams at a time, each of `size` bytes. */
export async function createConcurrentStreams(task: ChildTask): Promise<Workload> {
  const one = await createStreams({ ...task, roundSeconds: 0 });
  const all = async (): Promise<number> => {
    const lengths = await Promise.all(Array.from({ length: task.inFlight }, () => one.round()));
    return lengths.reduce((sum, length) => sum + length, 0);
  };
  // The largest number of streams takes longer than a round: the others have to work for as long.
  const calls = await callsFor(task.roundSeconds * CONCURRENT_ROUND_FACTOR, async (count) => {
    for (let n = 0; n < count; n++) await all();
  });
  return {
    ...one,
    async round() {
      let units = 0;
      for (let n = 0; n < calls; n++) units += await all();
      return units;
    },
  };
}
