// The one wrapped data key of a single-message object: how each kind of keyring wraps it, and how it is unwrapped,
// with the wraps of older clients behind a gate.
import { constants, createDecipheriv, type KeyObject, privateDecrypt, publicEncrypt } from "node:crypto";
import { concatBytes, concatSecrets, copySecret, equalConstantTime, wipe } from "../../bytes.ts";
import { allCauses, FramesealError, hasCode, notAuthentic } from "../../errors.ts";
import type { EncryptionContext } from "../../format/encryption-context.ts";
import { DEFAULT_COMMITMENT_POLICY, suiteById } from "../../format/suite.ts";
import {
  unwrapWithAesGcm,
  WRAP_NONCE_LENGTH,
  WRAP_TAG_LENGTH,
  wrapWithAesGcm,
} from "../../keyring/aes-gcm-wrap.ts";
import { CachingKeyring } from "../../keyring/caching-keyring.ts";
import { randomDataKey } from "../../keyring/data-key.ts";
import type { Keyring } from "../../keyring/keyring.ts";
import { kmsAccessOf } from "../../keyring/kms-access.ts";
import { MultiKeyring } from "../../keyring/multi-keyring.ts";
import type { RawAesKeyring } from "../../keyring/raw-aes-keyring.ts";
import { describeKeyring, type WrappingKeys, wrappingKeysOf } from "../../keyring/raw-key.ts";
import type { RawRsaKeyring } from "../../keyring/raw-rsa-keyring.ts";
import { openOaepSha256Mgf1Sha1, openPkcs1 } from "../../keyring/rsa-unpad.ts";
import { SkipList } from "../../keyring/skipped-keys.ts";
import { isAllZeros, nameOf, takeWrappedKeys } from "../../keyring/take-data-key.ts";
import { reservedContextNames } from "../object-metadata.ts";
import {
  type ContentAlgorithm,
  contentAlgorithmNames,
  type Envelope,
  type WrapAlgorithm,
} from "./envelope.ts";

/** Bytes of every data key. */
const DATA_KEY_LENGTH = 32;

/** What the envelope says about the data key. */
export interface WrappedKey {
  readonly wrap: WrapAlgorithm;
  readonly encryptedDataKey: Uint8Array;
  readonly description: EncryptionContext;
}

/** What wrapping and unwrapping are told. */
export interface WrapOptions {
  readonly keyring: Keyring;
  /** For KMS: what the caller demands, without the pairs that clients add. */
  readonly encryptionContext: EncryptionContext;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The keyring that wraps: the generator of a multi-keyring, since an object holds only one wrapped key. A cache is passed
 * by, because every object of this kind needs a data key of its own.
 */
function writerOf(keyring: Keyring): Keyring {
  if (keyring instanceof CachingKeyring) return writerOf(keyring.keyring);
  if (!(keyring instanceof MultiKeyring)) return keyring;
  if (keyring.generator === undefined)
    throw new FramesealError("NO_DATA_KEY", "multi-keyring has no generator: it can only decrypt");
  return writerOf(keyring.generator);
}

function leavesOf(keyring: Keyring): readonly Keyring[] {
  if (keyring instanceof CachingKeyring) return leavesOf(keyring.keyring);
  if (!(keyring instanceof MultiKeyring)) return [keyring];
  const { generator, children } = keyring;
  return [...(generator === undefined ? [] : [generator]), ...children].flatMap(leavesOf);
}

/** @throws FramesealError POLICY for a keyring whose kind these objects do not know */
export function checkWriter(keyring: Keyring, context: EncryptionContext): void {
  const writer = writerOf(keyring);
  for (const name of Object.values(reservedContextNames))
    if (Object.hasOwn(context, name))
      throw new TypeError(`"encryptionContext" expected no ${name}: S3 Encryption Clients add it`);
  if (kmsAccessOf(writer) !== undefined) return;
  if (wrappingKeysOf(writer) === undefined)
    throw new FramesealError("POLICY", "objects of this format are written with a raw or KMS keyring only");
  if (Object.keys(context).length > 0) throw noContext();
}

/** Makes a data key and wraps it. The caller wipes `dataKey`. */
export async function generateWrappedKey(
  content: ContentAlgorithm,
  options: WrapOptions,
): Promise<WrappedKey & { readonly dataKey: Uint8Array }> {
  const { encryptionContext, signal } = options;
  checkWriter(options.keyring, encryptionContext);
  const access = kmsAccessOf(writerOf(options.keyring));
  if (access === undefined) {
    const dataKey = randomDataKey(DATA_KEY_LENGTH);
    try {
      return { ...(await wrapDataKey(dataKey, content, options)), dataKey };
    } catch (error) {
      wipe(dataKey);
      throw error;
    }
  }
  const description = kmsContext(encryptionContext, content);
  const request = { encryptionContext: description, keyLength: DATA_KEY_LENGTH, signal };
  const { dataKey, ciphertext } = await access.generateDataKey(request);
  return { wrap: "kms+context", encryptedDataKey: ciphertext, description, dataKey };
}

/** Wraps a data key that exists already. Does not keep or change it. */
export async function wrapDataKey(
  dataKey: Uint8Array,
  content: ContentAlgorithm,
  { keyring, encryptionContext, signal }: WrapOptions,
): Promise<WrappedKey> {
  checkWriter(keyring, encryptionContext);
  const writer = writerOf(keyring);
  const algorithm = contentAlgorithmNames[content];
  const keys = wrappingKeysOf(writer);
  if (keys === undefined) {
    const description = kmsContext(encryptionContext, content);
    const request = { suite: suiteById(0x0478), commitmentPolicy: DEFAULT_COMMITMENT_POLICY };
    const signals = signal === undefined ? {} : { signal };
    const wrapped = await takeWrappedKeys(writer, dataKey, {
      ...request,
      ...signals,
      encryptionContext: description,
    });
    const [first] = wrapped;
    if (first === undefined) throw new FramesealError("NO_DATA_KEY", "keyring did not wrap the data key");
    return { wrap: "kms+context", encryptedDataKey: first.ciphertext, description };
  }
  const description = keys.materialDescription;
  if (keys.secretKey !== undefined)
    return { wrap: "AES/GCM", encryptedDataKey: wrapGcm(keys.secretKey, dataKey, algorithm), description };
  if (keys.publicKey === undefined)
    throw new FramesealError("NO_DATA_KEY", "RSA keyring has no public key: it can only decrypt");
  const padded = concatSecrets([Uint8Array.of(DATA_KEY_LENGTH), dataKey, Buffer.from(algorithm, "ascii")]);
  try {
    const encryptedDataKey = publicEncrypt({ key: keys.publicKey, ...OAEP_SHA1 }, padded);
    return { wrap: "RSA-OAEP-SHA1", encryptedDataKey, description };
  } finally {
    wipe(padded);
  }
}

const OAEP_SHA1 = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" };

function kmsContext(context: EncryptionContext, content: ContentAlgorithm): EncryptionContext {
  const pair = { [reservedContextNames.contentAlgorithm]: contentAlgorithmNames[content] };
  return Object.freeze(Object.assign(Object.create(null), context, pair));
}

const legacyWraps: ReadonlySet<WrapAlgorithm> = new Set<WrapAlgorithm>([
  ...(["kms", "AESWrap", "AES", "RSA", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"] as const),
]);

/**
 * Checks what can be checked before a key is touched.
 * @throws FramesealError POLICY for a wrap behind the gate
 */
export function checkWrapAllowed({ wrap }: WrappedKey, enableLegacyWrappingAlgorithms: boolean): void {
  if (legacyWraps.has(wrap) && !enableLegacyWrappingAlgorithms)
    throw new FramesealError(
      "POLICY",
      `Enable legacy wrapping algorithms to use legacy key wrapping algorithm: ${wrap}`,
    );
}

/**
 * Unwraps the data key of an object; the caller wipes it. What fails with a raw key fails with the one error of all
 * that is not authentic: it does not tell which step failed.
 * @throws FramesealError AUTHENTICATION_FAILED, CONTEXT_MISMATCH, NO_DATA_KEY, KEY_SERVICE, ABORTED
 */
export async function unwrapDataKey(envelope: Envelope, options: WrapOptions): Promise<Uint8Array> {
  for await (const dataKey of unwrapCandidates(envelope, options)) return dataKey;
  throw notAuthentic();
}

/**
 * Unwraps the data key with each key that may have wrapped it, one after the other. Some wraps of old clients cannot fail:
 * a wrong key gives another data key, and only the object tells which one is right. The caller wipes each.
 * @throws FramesealError as `unwrapDataKey`
 */
export async function* unwrapCandidates(
  envelope: Envelope,
  options: WrapOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const leaves = leavesOf(options.keyring);
  if (envelope.wrap === "kms" || envelope.wrap === "kms+context") {
    yield await unwrapWithKms(envelope, leaves, options);
    return;
  }
  if (Object.keys(options.encryptionContext).length > 0) throw noContext();
  const needed = envelope.wrap.startsWith("AES") ? "secretKey" : "privateKey";
  const all = leaves.map(wrappingKeysOf).filter((keys) => keys?.[needed] !== undefined) as WrappingKeys[];
  const described = all.filter((keys) => sameMap(keys.materialDescription, envelope.description));
  const candidates = described.length > 0 ? described : all;
  if (candidates.length === 0) throw noKeyFor(envelope.wrap, leaves);
  for (const keys of candidates) {
    const dataKey = unwrapWith(keys[needed] as KeyObject, envelope);
    // Zeros are no key that anybody has drawn.
    if (dataKey !== null && !isAllZeros(dataKey)) yield dataKey;
  }
}

async function unwrapWithKms(
  envelope: Envelope,
  leaves: readonly Keyring[],
  { encryptionContext, signal }: WrapOptions,
): Promise<Uint8Array> {
  const { wrap, description, encryptedDataKey, content } = envelope;
  const accesses = leaves.map(kmsAccessOf).filter((access) => access !== undefined);
  if (accesses.length === 0) throw noKeyFor(wrap, leaves);
  if (wrap === "kms+context") {
    const theirs: Record<string, string> = { ...description };
    const algorithm = theirs[reservedContextNames.contentAlgorithm];
    for (const name of Object.values(reservedContextNames)) delete theirs[name];
    if (algorithm !== contentAlgorithmNames[content] || !sameMap(theirs, encryptionContext))
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        "Provided encryption context does not match information retrieved from S3",
      );
  } else if (Object.keys(encryptionContext).length > 0) throw noContext();
  const request = { encryptionContext: description, keyLength: DATA_KEY_LENGTH, signal };
  const failures: unknown[] = [];
  for (const access of accesses)
    try {
      return await access.decrypt(encryptedDataKey, request);
    } catch (error) {
      if (signal?.aborted || accesses.length === 1) throw error;
      failures.push(error);
    }
  const service = failures.some((failure) => hasCode(failure, "KEY_SERVICE"));
  const cause = allCauses(failures);
  throw new FramesealError(
    service ? "KEY_SERVICE" : "NO_DATA_KEY",
    `no keyring could unwrap the data key of this object: ${cause.message}`,
    { cause },
  );
}

function unwrapWith(
  key: KeyObject,
  { wrap, encryptedDataKey: sealed, content }: Envelope,
): Uint8Array | null {
  const algorithm = contentAlgorithmNames[content];
  switch (wrap) {
    case "AES/GCM":
      return unwrapGcm(key, sealed, algorithm);
    case "AESWrap":
      return unwrapCipher(
        `id-aes${keyBits(key)}-wrap`,
        key,
        Buffer.alloc(8, 0xa6),
        sealed,
        DATA_KEY_LENGTH + 8,
      );
    case "AES":
      return unwrapCipher(`aes-${keyBits(key)}-ecb`, key, null, sealed, DATA_KEY_LENGTH + 16);
    case "RSA":
      return openPkcs1(key, sealed, DATA_KEY_LENGTH);
    case "RSA-OAEP-SHA1":
      return unwrapOaep(key, sealed, algorithm);
    default:
      return openOaepSha256Mgf1Sha1(key, sealed, DATA_KEY_LENGTH);
  }
}

// Nonce ‖ ciphertext ‖ tag, with the name of the content algorithm as AAD.
function wrapGcm(key: KeyObject, dataKey: Uint8Array, algorithm: string): Uint8Array {
  const { nonce, sealed } = wrapWithAesGcm(key, Buffer.from(algorithm, "ascii"), dataKey);
  return concatBytes([nonce, sealed]);
}

function unwrapGcm(key: KeyObject, wrapped: Uint8Array, algorithm: string): Uint8Array | null {
  if (wrapped.length !== WRAP_NONCE_LENGTH + DATA_KEY_LENGTH + WRAP_TAG_LENGTH) return null;
  const [nonce, sealed] = [wrapped.subarray(0, WRAP_NONCE_LENGTH), wrapped.subarray(WRAP_NONCE_LENGTH)];
  return unwrapWithAesGcm(key, nonce, Buffer.from(algorithm, "ascii"), sealed);
}

function unwrapCipher(
  name: string,
  key: KeyObject,
  iv: Uint8Array | null,
  sealed: Uint8Array,
  sealedLength: number,
): Uint8Array | null {
  if (sealed.length !== sealedLength) return null;
  const pieces: Uint8Array[] = [];
  try {
    const decipher = createDecipheriv(name, key, iv);
    pieces.push(decipher.update(sealed));
    pieces.push(decipher.final());
    const opened = concatSecrets(pieces);
    pieces.push(opened);
    return takeKey(opened);
  } catch {
    return null;
  } finally {
    wipe(...pieces);
  }
}

// Length ‖ data key ‖ name of the content algorithm.
function unwrapOaep(key: KeyObject, sealed: Uint8Array, algorithm: string): Uint8Array | null {
  let opened: Buffer;
  try {
    opened = privateDecrypt({ key, ...OAEP_SHA1 }, sealed);
  } catch {
    return null;
  }
  const head = opened.subarray(0, 1);
  const tail = opened.subarray(1 + DATA_KEY_LENGTH);
  try {
    const right = equalConstantTime(
      concatBytes([head, tail]),
      concatBytes([Uint8Array.of(DATA_KEY_LENGTH), Buffer.from(algorithm, "ascii")]),
    );
    return right ? takeKey(opened.subarray(1, 1 + DATA_KEY_LENGTH)) : null;
  } finally {
    wipe(opened);
  }
}

// In memory of its own.
function takeKey(opened: Uint8Array): Uint8Array | null {
  if (opened.length !== DATA_KEY_LENGTH) return null;
  return copySecret(opened);
}

function keyBits(key: KeyObject): number {
  return 8 * (key.symmetricKeySize ?? 0);
}

/** True if two maps hold the same pairs. */
function sameMap(a: EncryptionContext, b: EncryptionContext): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && a[name] === b[name])
  );
}

function noKeyFor(wrap: WrapAlgorithm, leaves: readonly Keyring[]): FramesealError {
  const skipped = new SkipList();
  for (const leaf of leaves) skipped.add(whyNot(wrap, leaf));
  return new FramesealError(
    "NO_DATA_KEY",
    `no keyring can open a data key wrapped with ${wrap}: ${skipped}`,
    {
      cause: allCauses(skipped.texts.map((text) => new FramesealError("NO_DATA_KEY", text))),
    },
  );
}

function whyNot(wrap: WrapAlgorithm, leaf: Keyring): string {
  const needed = wrap.startsWith("kms") ? "key of AWS KMS" : wrap.startsWith("AES") ? "AES key" : "RSA key";
  const raw = wrappingKeysOf(leaf);
  if (raw !== undefined) {
    const kind = raw.secretKey === undefined ? "RSA" : "AES";
    const lacksPrivateKey = kind === "RSA" && needed === "RSA key";
    const name = describeKeyring(kind, leaf as RawAesKeyring | RawRsaKeyring);
    return `${name}: ${lacksPrivateKey ? "it has no private key" : `it is no ${needed}`}`;
  }
  if (kmsAccessOf(leaf) !== undefined) return `KMS keyring: it has no ${needed}`;
  return `${nameOf(leaf)}: objects of this format are opened with a raw or KMS keyring only`;
}

function noContext(): FramesealError {
  return new FramesealError(
    "POLICY",
    'raw keys do not authenticate an encryption context in this format: leave "encryptionContext" out',
  );
}
