// The encryption context: public key/value pairs bound to a message. Its canonical bytes are AAD of key wrapping and
// part of the header.

import { ByteReader, ByteWriter } from "../bytes.ts";
import { type Check, pairs } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import { quote } from "../quote.ts";
import { isWellFormed } from "../shapes.ts";
import { MAX_UINT16 } from "./limits.ts";

/** Pairs of strings. They are authenticated, not secret. */
export type EncryptionContext = Readonly<Record<string, string>>;

/** Keys with this prefix belong to the format; callers must not use it. */
export const RESERVED_KEY_PREFIX = "aws-crypto-";
/** Holds the signing suites' public key: Base64 of the compressed point. */
export const PUBLIC_KEY_CONTEXT_KEY = "aws-crypto-public-key";

/**
 * Encodes pairs canonically: a 2-byte count, then each pair as 2-byte length and UTF-8 bytes, sorted by the bytes of
 * the keys; big-endian. An empty context encodes to 0 bytes.
 * @throws TypeError if a key or value is not a well-formed string
 * @throws RangeError if a length does not fit into 2 bytes
 */
export function encodeEncryptionContext(context: EncryptionContext): Uint8Array {
  const pairs = Object.entries(context).map(
    ([key, value]) => [encodeString(key, "key"), encodeString(value, "value")] as const,
  );
  if (pairs.length === 0) return new Uint8Array(0);
  pairs.sort((a, b) => Buffer.compare(a[0], b[0]));
  const writer = new ByteWriter().uint16(pairs.length);
  for (const [key, value] of pairs) writer.uint16(key.length).bytes(key).uint16(value.length).bytes(value);
  const bytes = writer.finish();
  if (bytes.length > MAX_UINT16)
    throw new RangeError(`"encryptionContext" expected at most ${MAX_UINT16} bytes, got ${bytes.length}`);
  return bytes;
}

function encodeString(value: unknown, what: string): Buffer {
  if (typeof value !== "string")
    throw new TypeError(`"encryptionContext" expected a string as ${what}, got ${typeof value}`);
  const bytes = Buffer.from(value, "utf8");
  if (bytes.length > MAX_UINT16)
    throw new RangeError(
      `"encryptionContext" expected a ${what} of at most ${MAX_UINT16} bytes, got ${bytes.length}`,
    );
  if (!isWellFormed(value))
    throw new TypeError(`"encryptionContext" expected well-formed Unicode as ${what}`);
  return bytes;
}

/**
 * Decodes pairs in any order (some writers did not sort).
 * @throws FramesealError INVALID_HEADER for a count of 0, bytes left over or missing, duplicate keys or invalid UTF-8
 */
export function decodeEncryptionContext(bytes: Uint8Array): EncryptionContext {
  const context: Record<string, string> = Object.create(null);
  if (bytes.length === 0) return context;
  const reader = new ByteReader(bytes, () => invalid("its length does not match its pairs"));
  const count = reader.uint16();
  if (count === 0) throw invalid("it counts no pairs");
  for (let i = 0; i < count; i++) {
    const key = reader.utf8(reader.uint16());
    const value = reader.utf8(reader.uint16());
    if (key === undefined || value === undefined) throw invalid("it is not valid UTF-8");
    if (Object.hasOwn(context, key)) throw invalid("it repeats a key");
    context[key] = value;
  }
  if (reader.remaining !== 0) throw invalid("its length does not match its pairs");
  return context;
}

function invalid(why: string): FramesealError {
  return new FramesealError("INVALID_HEADER", `encryption context in the header is invalid: ${why}`);
}

/**
 * Checks a caller's context before a message is written.
 * @throws TypeError for the reserved prefix
 */
export function checkCallerContext(context: EncryptionContext): void {
  for (const key of Object.keys(context))
    if (key.startsWith(RESERVED_KEY_PREFIX))
      throw new TypeError(
        `"encryptionContext" expected no key that starts with ${RESERVED_KEY_PREFIX}, got ${quote(key)}`,
      );
}

/** The pairs of `context` whose keys are in `keys`, and the others. */
export function splitContext(
  context: EncryptionContext,
  keys: ReadonlySet<string>,
): { readonly selected: EncryptionContext; readonly rest: EncryptionContext } {
  const selected: Record<string, string> = Object.create(null);
  const rest: Record<string, string> = Object.create(null);
  for (const [key, value] of Object.entries(context)) (keys.has(key) ? selected : rest)[key] = value;
  return { selected, rest };
}

/** The context of those who give none. */
export const NO_CONTEXT: EncryptionContext = Object.freeze(Object.create(null));

/** An encryption context that can be encoded; a frozen copy of it. */
export const contextOption: Check = (name, value) => {
  const context = pairs(name, value) as EncryptionContext;
  encodeEncryptionContext(context);
  return context;
};
