// Bodies: whatever a caller gives to upload, cut into parts; and the Readable that a caller gets, with the methods the
// SDK gives to its own.
import { Readable } from "node:stream";
import { asBuffer, concatBytes } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import { isArrayBuffer, isAsyncIterable, isBlob, isBytes, isShared, isWebReadable } from "../shapes.ts";

/** What can be uploaded: as the SDK takes it, and everything that can be iterated. */
export type UploadBody =
  | string
  | Uint8Array
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  | undefined;

/** One piece of a body. */
export interface BodyPart {
  readonly bytes: Uint8Array;
  readonly place: "more" | "last";
}

/** The bytes of a body that is in memory already, else undefined. */
export function bytesInMemory(body: unknown): Uint8Array | undefined {
  if (body === undefined || body === null) return new Uint8Array(0);
  if (typeof body === "string") return Buffer.from(body, "utf8");
  if (isBytes(body)) return body;
  if (isArrayBuffer(body)) return new Uint8Array(body);
  return ArrayBuffer.isView(body) ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength) : undefined;
}

/** The pieces of a Web stream of any package: Node's own conversion refuses all but its own. */
export function readableFromWeb(stream: ReadableStream<unknown>): Readable {
  const reader = stream.getReader();
  return new Readable({
    read() {
      reader.read().then(
        ({ done, value }) => this.push(done ? null : value),
        (error) => this.destroy(error),
      );
    },
    destroy(error, done) {
      const finish = (): void => done(error);
      reader.cancel(error).then(finish, finish);
    },
  });
}

/** @throws TypeError for what is no body */
function iterateBody(body: unknown): AsyncIterator<unknown> {
  if (isBlob(body)) return iterateBody(body.stream());
  if (isAsyncIterable(body)) return body[Symbol.asyncIterator]();
  if (isWebReadable(body)) return readableFromWeb(body)[Symbol.asyncIterator]();
  throw new TypeError(
    `"Body" expected bytes, a string, a stream, a Blob or an async iterable, got ${typeof body}`,
  );
}

/**
 * Cuts a body into parts; the last one, and only it, may be shorter than `partLength(number)` and may be empty. The
 * bytes of a part are valid until the next one is asked for.
 * @param expected what the caller announced as length
 * @throws TypeError for what is no body; RangeError when it does not have the announced length
 */
export async function* cutParts(
  body: unknown,
  partLength: (number: number) => number,
  expected: number | undefined,
): AsyncGenerator<BodyPart, void, void> {
  const whole = bytesInMemory(body);
  if (whole !== undefined) {
    if (expected !== undefined && expected !== whole.length) throw wrongLength(expected, whole.length);
    let start = 0;
    for (let number = 1; ; number++) {
      const end = Math.min(whole.length, start + partLength(number));
      const place = end === whole.length ? "last" : "more";
      yield { bytes: whole.subarray(start, end), place };
      if (place === "last") return;
      start = end;
    }
  }
  const source = iterateBody(body);
  let buffer: Buffer = Buffer.alloc(0);
  let rest: Uint8Array = new Uint8Array(0);
  let received = 0;
  let done = false;
  const pull = async (): Promise<void> => {
    while (rest.length === 0 && !done) {
      const result = await source.next();
      if (result.done === true) done = true;
      else {
        rest = chunkBytes(result.value);
        received += rest.length;
        if (expected !== undefined && received > expected) throw wrongLength(expected, received);
      }
    }
    if (done && expected !== undefined && received !== expected) throw wrongLength(expected, received);
  };
  try {
    for (let number = 1; ; number++) {
      const length = partLength(number);
      let filled = 0;
      for (await pull(); filled < length && rest.length > 0; await pull()) {
        const count = Math.min(rest.length, length - filled);
        if (buffer.length < filled + count) buffer = grow(buffer, filled, filled + count, length);
        buffer.set(rest.subarray(0, count), filled);
        filled += count;
        rest = rest.subarray(count);
      }
      yield { bytes: buffer.subarray(0, filled), place: done ? "last" : "more" };
      if (done) return;
    }
  } finally {
    buffer.fill(0);
    if (!done) await source.return?.();
  }
}

/**
 * Collects a body of one part.
 * @throws FramesealError POLICY when it has more than `limit` bytes; RangeError when not the announced length
 */
export async function collectBody(
  body: unknown,
  limit: number,
  expected: number | undefined,
): Promise<Uint8Array> {
  const whole = bytesInMemory(body);
  if (whole !== undefined) {
    if (expected !== undefined && expected !== whole.length) throw wrongLength(expected, whole.length);
    // What another thread can change must not differ between the ledger and the seal.
    return isShared(whole) ? Uint8Array.from(whole) : whole;
  }
  const source = iterateBody(body);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let result = await source.next(); result.done !== true; result = await source.next()) {
    const chunk = chunkBytes(result.value);
    length += chunk.length;
    chunks.push(chunk);
    if (length > limit || (expected !== undefined && length > expected)) {
      await source.return?.();
      if (expected !== undefined && length > expected) throw wrongLength(expected, length);
      throw new FramesealError(
        "POLICY",
        `part has more than the ${limit} bytes that parts of this upload have`,
      );
    }
  }
  if (expected !== undefined && expected !== length) throw wrongLength(expected, length);
  return concatBytes(chunks);
}

// Doubling up to a whole part: a short body does not cost a whole part's memory.
function grow(buffer: Buffer, used: number, needed: number, max: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(Math.min(max, Math.max(needed, buffer.length * 4, 64 * 1024)));
  buffer.copy(larger, 0, 0, used);
  buffer.fill(0);
  return larger;
}

function chunkBytes(chunk: unknown): Uint8Array {
  if (isBytes(chunk)) return chunk;
  if (typeof chunk === "string") return Buffer.from(chunk, "utf8");
  throw new TypeError(`"Body" expected chunks of bytes or strings, got ${typeof chunk}`);
}

function wrongLength(expected: number, got: number): RangeError {
  return new RangeError(
    `"ContentLength" expected the length of the body (${got} bytes or more), got ${expected}`,
  );
}

/** A Readable as the SDK returns it. */
export type SdkBody = Readable & {
  transformToByteArray(): Promise<Uint8Array>;
  transformToString(encoding?: string): Promise<string>;
  transformToWebStream(): ReadableStream;
};

/** Gives `stream` the methods that the SDK's bodies have. */
export function toSdkBody(stream: Readable): SdkBody {
  let taken = false;
  const take = (): void => {
    if (taken) throw new Error("The stream has already been transformed.");
    taken = true;
  };
  const transformToByteArray = async (): Promise<Uint8Array> => {
    take();
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  return Object.assign(stream, {
    transformToByteArray,
    async transformToString(encoding?: string): Promise<string> {
      const bytes = asBuffer(await transformToByteArray());
      if (encoding === undefined || Buffer.isEncoding(encoding)) return bytes.toString(encoding);
      return new TextDecoder(encoding).decode(bytes);
    },
    transformToWebStream(): ReadableStream {
      if (stream.readableFlowing !== null)
        throw new Error("The stream has been consumed by other callbacks.");
      take();
      return Readable.toWeb(stream) as ReadableStream;
    },
  });
}
