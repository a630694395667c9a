// The one way in for data keys: whatever a keyring or a key service gives is copied into memory of our own in the moment
// it arrives, and checked there. The giver may keep its memory, change it, or give it away again for the next message:
// that must never seal a message under another key than the wrapped one, nor under zeros. Whoever aborts waits no longer:
// what comes then is wiped.
import { allocateSecret, wipe } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { MAX_ENCRYPTED_DATA_KEYS, MAX_UINT16 } from "../format/limits.ts";
import { bytesLength } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";

/**
 * Asks `keyring` for a new data key. The caller wipes it.
 * @param least how many wrapped forms it must come with: 0 for a generator among several keyrings
 * @throws FramesealError KEY_SERVICE for a key that cannot be used, ABORTED; what the keyring throws
 */
export async function takeGeneratedKey(
  keyring: Keyring,
  request: DataKeyRequest,
  least: 0 | 1 = 1,
): Promise<GeneratedDataKey> {
  const answer: unknown = await untilAborted<unknown>(
    keyring.generateDataKey(request),
    request.signal,
    (late) => wipeGiven((Object(late) as Readonly<Record<string, unknown>>).dataKey),
  );
  const { dataKey: given, encryptedDataKeys } = Object(answer) as Readonly<Record<string, unknown>>;
  const dataKey = takeDataKey(given, request.suite.keyLength);
  try {
    return { dataKey, encryptedDataKeys: takeEncryptedDataKeys(encryptedDataKeys, least) };
  } catch (error) {
    wipe(dataKey);
    throw error;
  }
}

/**
 * Asks `keyring` to unwrap the data key of a message. The caller wipes it.
 * @returns null if none of the keys is addressed to `keyring`; then a reason stands in `request.skipped`
 * @throws FramesealError KEY_SERVICE for a key that cannot be used, ABORTED; what the keyring throws
 */
export async function takeUnwrappedKey(
  keyring: Keyring,
  encryptedDataKeys: readonly EncryptedDataKey[],
  request: DataKeyRequest,
): Promise<Uint8Array | null> {
  const { skipped } = request;
  const told = skipped?.count;
  const given: unknown = await untilAborted<unknown>(
    keyring.unwrapDataKey(encryptedDataKeys, request),
    request.signal,
    wipeGiven,
  );
  if (given !== null) return takeDataKey(given, request.suite.keyLength);
  if (skipped !== undefined && skipped.count === told)
    for (const key of encryptedDataKeys) skipped.add(`${nameOf(keyring)}: it does not say why`, key);
  return null;
}

/**
 * Asks `keyring` to wrap a data key, of which it gets a copy.
 * @throws FramesealError KEY_SERVICE for what no header can hold, ABORTED; what the keyring throws
 */
export async function takeWrappedKeys(
  keyring: Keyring,
  dataKey: Uint8Array,
  request: DataKeyRequest,
): Promise<readonly EncryptedDataKey[]> {
  const lent = copyOf(dataKey);
  try {
    const given: unknown = await untilAborted(keyring.wrapDataKey(lent, request), request.signal);
    return takeEncryptedDataKeys(given, 0);
  } finally {
    wipe(lent);
  }
}

/**
 * Takes a data key that somebody else has given: a copy, which the caller wipes. What was given is wiped.
 * @param refuse makes the error; `why` goes on after "data key"
 */
export function takeDataKey(given: unknown, length: number, refuse = refusal): Uint8Array {
  try {
    return copyDataKey(given, length, refuse);
  } finally {
    wipeGiven(given);
  }
}

function wipeGiven(given: unknown): void {
  // Not the method of the object: it may have one of its own.
  if (bytesLength(given) !== undefined) Uint8Array.prototype.fill.call(given, 0);
}

/** The same, but what was given stays as it is. */
export function copyDataKey(given: unknown, length: number, refuse = refusal): Uint8Array {
  const givenLength = bytesLength(given);
  if (givenLength === undefined) throw refuse("is no Uint8Array, or its memory was transferred away");
  if (givenLength !== length) throw refuse(`has ${givenLength} bytes instead of ${length}`);
  const dataKey = copyOf(given as Uint8Array);
  if (isAllZeros(dataKey)) throw refuse("is all zeros: it was wiped, or never made");
  return dataKey;
}

/** True if there is nothing but zeros in `bytes`; takes the same time for all of one length. */
export function isAllZeros(bytes: Uint8Array): boolean {
  let bits = 0;
  for (const byte of bytes) bits |= byte;
  return bits === 0;
}

function copyOf(source: Uint8Array): Uint8Array {
  const copy = allocateSecret(bytesLength(source) ?? 0);
  copy.set(source);
  return copy;
}

// Each property is read once: it may be another one the next time.
function takeEncryptedDataKeys(given: unknown, least: 0 | 1): readonly EncryptedDataKey[] {
  if (!Array.isArray(given)) throw new FramesealError("KEY_SERVICE", `${GIVEN} list is no array`);
  const { length } = given;
  if (length < least) throw new FramesealError("KEY_SERVICE", `${GIVEN} list is empty`);
  if (length > MAX_ENCRYPTED_DATA_KEYS)
    throw new FramesealError(
      "KEY_SERVICE",
      `${GIVEN} list has ${length} entries, a header holds ${MAX_ENCRYPTED_DATA_KEYS}`,
    );
  return Object.freeze(Array.from({ length }, (_, index) => takeEncryptedDataKey(given[index], index)));
}
const GIVEN = "keyring gave wrapped keys that no header can hold: their";

function takeEncryptedDataKey(given: unknown, index: number): EncryptedDataKey {
  const { providerId, providerInfo, ciphertext } = Object(given) as Readonly<Record<string, unknown>>;
  const refuse = (name: string, why: string): Error =>
    new FramesealError("KEY_SERVICE", `keyring gave a wrapped key (${index}) whose "${name}" ${why}`);
  if (typeof providerId !== "string") throw refuse("providerId", "is no string");
  const text = Buffer.from(providerId, "utf8");
  if (text.length > MAX_UINT16) throw refuse("providerId", `has ${text.length} bytes`);
  if (text.toString("utf8") !== providerId) throw refuse("providerId", "is not well-formed Unicode");
  const take = (name: string, bytes: unknown): Uint8Array => {
    const length = bytesLength(bytes);
    if (length === undefined) throw refuse(name, "is no Uint8Array");
    if (length > MAX_UINT16) throw refuse(name, `has ${length} bytes`);
    const copy = new Uint8Array(length);
    copy.set(bytes as Uint8Array);
    return copy;
  };
  return Object.freeze({
    providerId,
    providerInfo: take("providerInfo", providerInfo),
    ciphertext: take("ciphertext", ciphertext),
  });
}

function refusal(why: string): FramesealError {
  return new FramesealError("KEY_SERVICE", `data key of the keyring ${why}`);
}

/** How errors name a keyring that does not name itself. */
export function nameOf(keyring: Keyring): string {
  const { name } = Object(keyring.constructor) as { readonly name?: unknown };
  return typeof name === "string" && /^\w{1,60}$/.test(name) && name !== "Object" ? name : "a keyring";
}
