// Bytes in and out: a bounds-checked reader, a growing writer, constant-time equality and wiping.
import { isUtf8 } from "node:buffer";
import { timingSafeEqual } from "node:crypto";

/** Writes big-endian integers and byte strings into a buffer that grows. */
export class ByteWriter {
  #bytes = Buffer.alloc(256);
  #length = 0;

  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
  uint8(value: number): this {
    const at = this.#grow(1);
    this.#bytes.writeUInt8(value, at);
    return this;
  }
  uint16(value: number): this {
    const at = this.#grow(2);
    this.#bytes.writeUInt16BE(value, at);
    return this;
  }
  uint32(value: number): this {
    const at = this.#grow(4);
    this.#bytes.writeUInt32BE(value, at);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }
  /** The bytes written so far, in memory of their own. */
  finish(): Uint8Array {
    const result = new Uint8Array(this.#length);
    result.set(this.#bytes.subarray(0, this.#length));
    return result;
  }
}

/** Reads big-endian integers and byte strings; `fail` makes the error for a read past the end. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #fail: () => Error;
  #position = 0;

  constructor(bytes: Uint8Array, fail: () => Error) {
    this.#bytes = asBuffer(bytes);
    this.#fail = fail;
  }
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }
  #advance(count: number): number {
    if (count > this.remaining) throw this.#fail();
    const at = this.#position;
    this.#position += count;
    return at;
  }
  uint16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }
  uint32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }
  /** A view of the next `count` bytes, not a copy. */
  bytes(count: number): Uint8Array {
    const at = this.#advance(count);
    return this.#bytes.subarray(at, at + count);
  }
  /** The next `count` bytes as text; undefined when they are not valid UTF-8. */
  utf8(count: number): string | undefined {
    const at = this.#advance(count);
    return decodeUtf8(this.#bytes, at, at + count);
  }
}

/** A Buffer over the same memory as `bytes`. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Compares in time that depends on the lengths alone. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Overwrites secret bytes with zeros. What JavaScript or the caller copied elsewhere is not reached. */
export function wipe(...secrets: (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0);
}

/**
 * Zeroed memory for a secret. `new Uint8Array(32)` would lie on V8's heap, which moves what lies there and leaves copies
 * behind, and a small Buffer in a pool that others share; an ArrayBuffer stays where it is, so that `wipe` reaches all
 * there is.
 */
export function allocateSecret(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(length));
}

/** A copy of a secret, in memory for secrets; the caller wipes it. */
export function copySecret(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = allocateSecret(secret.length);
  copy.set(secret);
  return copy;
}

/** As `concatBytes`, in memory for secrets; the caller wipes it. */
export function concatSecrets(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return copyInto(allocateSecret(totalLength(parts)), parts);
}

/** Decodes the bytes from `start` to `end` as UTF-8; undefined when they are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array, start = 0, end: number = bytes.length): string | undefined {
  const text = asBuffer(bytes).toString("utf8", start, end);
  // What is not valid is replaced by this character; but it may also stand there rightly.
  return text.includes("\ufffd") && !isUtf8(bytes.subarray(start, end)) ? undefined : text;
}

/** Total length of some byte strings. */
export function totalLength(parts: readonly Uint8Array[]): number {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/** Copies `parts` one behind the other into memory of their own. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  return copyInto(new Uint8Array(totalLength(parts)), parts);
}

function copyInto<Target extends Uint8Array>(target: Target, parts: readonly Uint8Array[]): Target {
  let at = 0;
  for (const part of parts) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}
