// Bytes for all workloads: not compressible, the same in every process.
import { createHash } from "node:crypto";
import { Readable, Writable } from "node:stream";

const BLOCK_LENGTH = 4 * 1024 * 1024;

/** `size` bytes that every process makes alike. Memory of its own. */
export function agreementBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0, n = 0; at < size; n++) {
    const piece = createHash("sha512")
      .update(`frameseal bench ${n}`)
      .digest()
      .subarray(0, size - at);
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** `size` bytes, by repeating a few MiB. */
export function benchBytes(size: number): Uint8Array {
  const block = agreementBytes(Math.min(size, BLOCK_LENGTH));
  if (size === block.length) return block;
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += block.length) bytes.set(block.subarray(0, size - at), at);
  return bytes;
}

/** A stream over `bytes` in chunks of `chunkLength`, repeated until `length` bytes have come. */
export function sourceOf(bytes: Uint8Array, chunkLength: number, length: number = bytes.length): Readable {
  let done = 0;
  return new Readable({
    highWaterMark: 2 * chunkLength,
    read() {
      if (done >= length) {
        this.push(null);
        return;
      }
      const at = done % bytes.length;
      const chunk = bytes.subarray(at, at + Math.min(chunkLength, length - done));
      done += chunk.length;
      this.push(chunk);
    },
  });
}

/** A stream that drops what it is given, and counts it in `length`. */
export class NullSink extends Writable {
  length = 0;
  readonly #recycle: ((chunk: Uint8Array) => void) | undefined;

  /** @param recycle what is done with chunks that were dropped */
  constructor(recycle?: (chunk: Uint8Array) => void) {
    super({ highWaterMark: 4 * 1024 * 1024 });
    this.#recycle = recycle;
  }
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.length += chunk.length;
    this.#recycle?.(chunk);
    done();
  }
}

/** Throws unless the two are equal. */
export function mustBeEqual(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) !== 0)
    throw new Error(`${actual.length} bytes came out, and not the ${expected.length} that were expected`);
}
