// What a value is, told by what it is made of or can do, never by its class: under jsdom, in a `node:vm` context or from
// another copy of a package the classes are others, and the values are as good. The only file that tests foreign values.
import type { KeyObject } from "node:crypto";
import type { Readable } from "node:stream";
import { types } from "node:util";

/** Bytes of any realm; Buffers too. */
export function isBytes(value: unknown): value is Uint8Array {
  // The class first: it takes half the time, and is right for almost all.
  return value instanceof Uint8Array || types.isUint8Array(value);
}

const ownLength = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), "length")?.get;

/**
 * How many bytes a Uint8Array of any realm has, whatever properties were put on it; undefined for everything else, and
 * for memory that was transferred away.
 */
export function bytesLength(value: unknown): number | undefined {
  if (!types.isUint8Array(value) || ownLength === undefined) return undefined;
  const length = Reflect.apply(ownLength, value, []) as number;
  return length === 0 && isDetached(value) ? undefined : length;
}

/** True for a view of memory that was transferred to somebody else. */
export function isDetached(bytes: Uint8Array): boolean {
  try {
    Uint8Array.prototype.at.call(bytes, 0); // throws for such a view; Node 20 has no ArrayBuffer.prototype.detached
    return false;
  } catch {
    return true;
  }
}

/** An ArrayBuffer of any realm, shared or not. */
export function isArrayBuffer(value: unknown): value is ArrayBufferLike {
  return types.isAnyArrayBuffer(value);
}

/** True if another thread may write to the memory of `bytes`. */
export function isShared(bytes: Uint8Array): boolean {
  const { buffer } = bytes;
  // As in `isBytes`: asking Node takes several times as long.
  return !(buffer instanceof ArrayBuffer) && types.isSharedArrayBuffer(buffer);
}

/** A key of `node:crypto`. */
export function isKeyObject(value: unknown): value is KeyObject {
  return types.isKeyObject(value);
}

/** Whatever has the name and the message of an error: a DOMException, and errors of other realms, too. */
export function isError(value: unknown): value is Error {
  return has(value, "name", "string") && has(value, "message", "string");
}

/** An error with one of these names, such as `TypeError`. */
export function isErrorNamed(value: unknown, ...names: readonly string[]): value is Error {
  return isError(value) && names.includes(value.name);
}

/** The `code` of an error of Node, of the system or of this package, if it has one. */
export function errorCode(value: unknown): string | undefined {
  return isError(value) && "code" in value && typeof value.code === "string" ? value.code : undefined;
}

/** A signal of Node, of a page, or of a package that makes its own. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  return (
    has(value, "aborted", "boolean") &&
    has(value, "addEventListener", "function") &&
    has(value, "removeEventListener", "function")
  );
}

/** A promise, or what can be awaited like one. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return has(value, "then", "function");
}

/** A Readable of Node, or of another copy of `readable-stream`. */
export function isReadable(value: unknown): value is Readable {
  return has(value, "pipe", "function") && has(value, "on", "function") && isAsyncIterable(value);
}

/** A Web stream that can be read. */
export function isWebReadable(value: unknown): value is ReadableStream<unknown> {
  return has(value, "getReader", "function");
}

/** A Blob or a File. */
export function isBlob(value: unknown): value is Blob {
  return has(value, "size", "number") && has(value, "stream", "function") && has(value, "slice", "function");
}

/** Anything for `for await`. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

const LONE_SURROGATE = /\p{Surrogate}/u;
/** Text that UTF-8 can carry: half of a pair of surrogates is none. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

function has(value: unknown, name: string, type: string): boolean {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  return typeof (value as Readonly<Record<string, unknown>>)[name] === type;
}
