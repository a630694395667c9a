// Small objects put and got through the AWS SDK, many in flight: by the SDK alone and through our client, and what of our
// time goes where.

import process from "node:process";
import { HeaderParser } from "#frameseal/format/header.js";
import { openHeader } from "#frameseal/message/open-message.js";
import { prepareFrames } from "#frameseal/message/seal-message.js";
import { decryptObject, encryptObject } from "#frameseal/s3/whole-object.js";
import { Absent } from "../adaptor.ts";
import { benchKeyring } from "../adaptors/ours.ts";
import type { ChildTask } from "../child-protocol.ts";
import type { Workload } from "../workload.ts";
import { callsFor, repeat } from "./repeat.ts";
import { Bucket, type Client, clientFor, createPlain, formatOf } from "./s3-transfers.ts";
import { benchBytes } from "./source.ts";

/** Objects that are read in turn. */
const KEYS = 64;

/** Of each round many calls; `place` is the address of a server. */
export async function createSmallObjects(task: ChildTask): Promise<Workload> {
  const { size, place } = task.options;
  if (place === undefined) throw new Absent("no server");
  const { plain, PutObjectCommand, GetObjectCommand } = await createPlain(place);
  let requests = 0;
  plain.middlewareStack.add(
    (next) => (args) => {
      requests += 1;
      return next(args);
    },
    { step: "finalizeRequest", name: "benchCount" },
  );
  // Made after the counter, which it takes over.
  const client = clientFor(task.adaptor, plain);
  const body = benchBytes(size);
  const prefix = task.adaptor.replaceAll(" ", "-");
  const keyOf = (number: number): string => `${prefix}-${number % KEYS}`;
  const put = async (using: Client, number: number): Promise<void> => {
    await using.send(new PutObjectCommand({ Bucket, Key: keyOf(number), Body: body }));
  };
  const get = async (using: Client, number: number): Promise<void> => {
    const { Body } = await using.send(new GetObjectCommand({ Bucket, Key: keyOf(number) }));
    let length = 0;
    for await (const chunk of Body ?? []) length += chunk.length;
    if (using === client && length !== size) throw new Error(`${length} bytes came out instead of ${size}`);
  };
  const call = task.operation === "seal" ? put : get;
  const many = async (using: Client, count: number): Promise<void> => {
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < count) await call(using, next++);
    };
    await Promise.all(Array.from({ length: task.inFlight }, work));
  };
  for (let number = 0; number < KEYS; number++) await put(client, number);
  const count = await callsFor(task.roundSeconds, (calls) => many(client, calls), 1);
  const figures = async (): Promise<Record<string, number>> => {
    requests = 0;
    const whole = await perCall(() => many(client, count), count);
    const made = requests / count;
    const sdk = await perCall(() => many(plain, count), count);
    const { key, message } = await stepsOf(task, body);
    return {
      "requests a call": made,
      "CPU µs a call": whole,
      "by the SDK alone": sdk,
      ...(key === undefined
        ? { "for data key, envelope and bytes": message }
        : { "for data key and header": key, "to seal or open": message - key }),
      "for the rest": whole - sdk - message,
    };
  };
  const none = (): never => {
    throw new Error("internal error: objects exchange nothing");
  };
  return {
    produce: none,
    accept: none,
    async round() {
      await many(client, count);
      return count;
    },
    ...(client === plain ? {} : { figures }),
  };
}

/** Microseconds of the processor, so that what else runs on the machine does not count. */
async function perCall(work: () => Promise<unknown>, count: number): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

/**
 * Microseconds for an object without any client: for data key and header, which only framed objects have apart, and for
 * all of it.
 */
async function stepsOf(
  { operation, adaptor }: ChildTask,
  body: Uint8Array,
): Promise<{ readonly key: number | undefined; readonly message: number }> {
  const location = { bucket: Bucket, key: "steps" };
  const format = formatOf(adaptor);
  const options = { keyring: benchKeyring, format };
  const { body: sealed, metadata } = await encryptObject(location, body, options);
  const header = async (): Promise<void> =>
    (await prepareFrames({ ...options, plaintextLength: body.length })).dispose();
  const openedHeader = async (): Promise<void> => {
    const parser = new HeaderParser();
    parser.push(sealed);
    if (parser.header === undefined) throw new Error("internal error: no header");
    (await openHeader(parser.header, options)).dispose();
  };
  const sealing = operation === "seal";
  const message = (): Promise<unknown> =>
    sealing
      ? encryptObject(location, body, options)
      : decryptObject(location, { body: sealed, metadata }, options);
  const repeated = async (work: () => Promise<unknown>): Promise<number> => {
    await repeat(work, 200);
    return perCall(() => repeat(work, 2000), 2000);
  };
  const key = format === "framed" ? await repeated(sealing ? header : openedHeader) : undefined;
  return { key, message: await repeated(message) };
}
