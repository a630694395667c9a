// Files that hold one wrapping key: an AES key as JWK (RFC 7517, `kty` oct), an RSA key as PEM (PKCS#8 private, SPKI
// public). Nothing is guessed: no hex, no bare Base64, no passphrases. Errors name the file, never what is in it.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { promisify } from "node:util";
import { allocateSecret, asBuffer, copySecret, wipe } from "../bytes.ts";
import {
  type Check,
  type Checks,
  callback,
  checkOptions,
  pairs,
  signal,
  text,
  wholeNumber,
} from "../check-options.ts";
import { readSome } from "../disk/calls.ts";
import { NewFile } from "../disk/new-file.ts";
import { hasCode, throwIfAborted } from "../errors.ts";
import { shorten } from "../quote.ts";
import { untilAborted } from "../until-aborted.ts";
import { randomDataKey } from "./data-key.ts";
import { RawAesKeyring } from "./raw-aes-keyring.ts";
import { keyNameOption, keyNamespaceOption } from "./raw-key.ts";
import { RawRsaKeyring, type RsaPadding, rsaPaddingOption } from "./raw-rsa-keyring.ts";
import { isAllZeros } from "./take-data-key.ts";

/** The key namespace of key files unless the caller names another. */
export const DEFAULT_KEY_NAMESPACE = "frameseal";
const MAX_FILE_LENGTH = 65_536; // PEM of a 16,384-bit RSA key has 13 kB
const DEFAULT_MODULUS_BITS = 3072;
const PRIVATE_MODE = 0o600;
const PUBLIC_MODE = 0o644;

/** How to use the key of a file. */
export interface KeyFileOptions {
  /** By default `frameseal`. */
  readonly keyNamespace?: string | undefined;
  /** By default the JWK's `kid`; for RSA the first 16 hex digits of the SHA-256 of the public key (SPKI, DER). */
  readonly keyName?: string | undefined;
  /** Padding of RSA keys, by default `OAEP-SHA-256`. */
  readonly padding?: RsaPadding | undefined;
  /** For objects of the S3 Encryption Clients. */
  readonly materialDescription?: Readonly<Record<string, string>> | undefined;
  /** Told in one line if others than the owner may read a secret key. */
  readonly onWarning?: ((warning: string) => void) | undefined;
  /** Ends the wait for a pipe that nobody writes to; opening it keeps a thread until somebody does. */
  readonly signal?: AbortSignal | undefined;
}

/** What the options must be. */
const KEY_FILE_OPTIONS: Checks<KeyFileOptions> = {
  keyNamespace: keyNamespaceOption,
  keyName: keyNameOption,
  padding: rsaPaddingOption,
  materialDescription: pairs,
  onWarning: callback,
  signal,
};

/** Options of `writeAesKeyFile`. */
export interface AesKeyFileOptions {
  /** Bytes, by default 32. */
  readonly keyLength?: 16 | 24 | 32 | undefined;
}
const aesKeyLength: Check = (name, value) => {
  const length = wholeNumber(16, 32)(name, value);
  if (length !== 16 && length !== 24 && length !== 32)
    throw new RangeError(`"${name}" expected 16, 24 or 32 bytes, got ${value}`);
  return length;
};
const AES_FILE_OPTIONS: Checks<AesKeyFileOptions> = { keyLength: aesKeyLength };

/** Options of `writeRsaKeyFiles`. */
export interface RsaKeyFileOptions {
  /** By default 3,072; from 2,048 to 16,384. */
  readonly modulusBits?: number | undefined;
}
const RSA_FILE_OPTIONS: Checks<RsaKeyFileOptions> = { modulusBits: wholeNumber(2048, 16_384) };

/**
 * Reads a key file: JWK gives a raw AES keyring, PEM a raw RSA keyring that can encrypt (public key) or decrypt
 * (private key). The file may also be a pipe.
 * @throws TypeError, RangeError if the content is not such a key, and what the file system throws; FramesealError ABORTED
 */
export async function keyringFromKeyFile(
  path: string,
  givenOptions: KeyFileOptions = {},
): Promise<RawAesKeyring | RawRsaKeyring> {
  const options = checkOptions("options", givenOptions, KEY_FILE_OPTIONS);
  return keyringOf(await parseFile(path, options), path, options);
}

/**
 * Reads the AES key of a file that holds one, for what derives keys from it; the receiver wipes it.
 * @throws TypeError, RangeError if the content is no such key, and what the file system throws; FramesealError ABORTED
 */
export async function readAesKeyFile(
  path: string,
  givenOptions: Pick<KeyFileOptions, "onWarning" | "signal"> = {},
): Promise<Uint8Array> {
  const key = await parseFile(path, givenOptions);
  if (key.kind !== "aes") throw wrongContent(path, "an AES key (JWK)", "an RSA key");
  const exported = key.key.export();
  try {
    return copySecret(exported);
  } finally {
    wipe(exported);
  }
}

/**
 * Writes a new AES key as JWK, with mode 0600, and syncs it. Never overwrites;
 * the file is there when it is complete.
 * @throws RangeError, and what the file system throws (EEXIST if `path` exists); FramesealError NOT_DURABLE when the
 * file is there, but may not survive a power failure
 */
export async function writeAesKeyFile(
  path: string,
  options: AesKeyFileOptions = {},
): Promise<{ readonly keyName: string }> {
  text("path", path);
  const { keyLength = 32 } = checkOptions("options", options, AES_FILE_OPTIONS);
  const keyName = randomBytes(8).toString("hex");
  const key = randomDataKey(keyLength);
  const content = encodeJwk(keyName, key);
  try {
    await writeNewFiles({ path, content, mode: PRIVATE_MODE });
    return { keyName };
  } finally {
    wipe(key, content);
  }
}

/**
 * Writes a new RSA key pair: the private key to `path` (PKCS#8, mode 0600), the public key to `path`.pub (SPKI), and
 * syncs them. Never overwrites, and leaves neither file if one cannot be written.
 * @throws RangeError, and what the file system throws (EEXIST if one exists); FramesealError NOT_DURABLE when both are
 * there, but may not survive a power failure
 */
export async function writeRsaKeyFiles(
  path: string,
  options: RsaKeyFileOptions = {},
): Promise<{ readonly keyName: string; readonly publicKeyPath: string }> {
  text("path", path);
  const { modulusBits = DEFAULT_MODULUS_BITS } = checkOptions("options", options, RSA_FILE_OPTIONS);
  const { privateKey, publicKey } = await promisify(generateKeyPair)("rsa", { modulusLength: modulusBits });
  const content = Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }));
  const publicKeyPath = `${path}.pub`;
  try {
    const publicContent = Buffer.from(publicKey.export({ type: "spki", format: "pem" }));
    await writeNewFiles(
      { path, content, mode: PRIVATE_MODE },
      { path: publicKeyPath, content: publicContent, mode: PUBLIC_MODE },
    );
    return { keyName: rsaKeyName(publicKey), publicKeyPath };
  } finally {
    wipe(content);
  }
}

/** The key name of an RSA key file: the first 16 hex digits of the SHA-256 of the public key (SPKI, DER). */
function rsaKeyName(publicKey: KeyObject): string {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 16);
}

type ParsedKey =
  | { readonly kind: "aes"; readonly key: KeyObject; readonly keyName: string | undefined }
  | { readonly kind: "rsa-private" | "rsa-public"; readonly key: KeyObject; readonly keyName: string };

/** Reads and parses, and warns. */
async function parseFile(
  path: string,
  { signal, onWarning }: Pick<KeyFileOptions, "onWarning" | "signal">,
): Promise<ParsedKey> {
  text("path", path);
  throwIfAborted(signal);
  const { content, wideMode } = await untilAborted(readKeyFile(path), signal, (late) => wipe(late.content));
  try {
    const key = parseKeyFile(content, path);
    if (key.kind !== "rsa-public" && wideMode !== undefined)
      await onWarning?.(
        `key file ${shorten(path, 500)} can be read by others (mode ${wideMode}): chmod 600 it`,
      );
    return key;
  } finally {
    wipe(content);
  }
}

function keyringOf(key: ParsedKey, path: string, options: KeyFileOptions): RawAesKeyring | RawRsaKeyring {
  const keyNamespace = options.keyNamespace ?? DEFAULT_KEY_NAMESPACE;
  const keyName = options.keyName ?? key.keyName;
  if (keyName === undefined)
    throw new TypeError(`"keyName" expected a name, since ${shorten(path, 500)} has no "kid", got none`);
  const names = { keyNamespace, keyName, materialDescription: options.materialDescription };
  if (key.kind === "aes") return new RawAesKeyring({ ...names, wrappingKey: key.key });
  const padding = options.padding ?? "OAEP-SHA-256";
  // The public key is never derived from the private one: a private key file decrypts only.
  return key.kind === "rsa-private"
    ? new RawRsaKeyring({ ...names, padding, privateKey: key.key })
    : new RawRsaKeyring({ ...names, padding, publicKey: key.key });
}

// Everything is asked of the open file, so that nobody can exchange it between check and use.
/** What was read. The receiver wipes `content`. */
interface KeyFileContents {
  readonly content: Uint8Array;
  /** The mode of a file that others may read. */
  readonly wideMode: string | undefined;
}

async function readKeyFile(path: string): Promise<KeyFileContents> {
  const file = await open(path, "r");
  try {
    return await readBounded(file, path);
  } finally {
    await file.close();
  }
}

async function readBounded(file: FileHandle, path: string): Promise<KeyFileContents> {
  const stat = await file.stat();
  const tooLong = () => wrongContent(path, `at most ${MAX_FILE_LENGTH} bytes`, "more");
  if (stat.isFile() && stat.size > MAX_FILE_LENGTH) throw tooLong();
  const buffer = allocateSecret(MAX_FILE_LENGTH + 1);
  let length = 0;
  try {
    for (;;) {
      const count = await readSome(file, buffer.subarray(length), null);
      length += count;
      if (length > MAX_FILE_LENGTH) throw tooLong();
      if (count === 0) break;
    }
  } catch (error) {
    wipe(buffer);
    throw error;
  }
  const mode = stat.mode & 0o777;
  const wide = stat.isFile() && (mode & 0o077) !== 0 && process.platform !== "win32";
  return {
    content: buffer.subarray(0, length),
    wideMode: wide ? mode.toString(8).padStart(4, "0") : undefined,
  };
}

function parseKeyFile(content: Uint8Array, path: string): ParsedKey {
  const text = asBuffer(content);
  const start = text.findIndex((byte) => byte !== 0x20 && (byte < 0x09 || byte > 0x0d));
  if (start < 0) throw wrongContent(path, "a key", "an empty file");
  if (text[start] === 0x7b) return parseJwk(text, path);
  if (text.subarray(start).indexOf("-----BEGIN ") === 0) return parsePem(text.subarray(start), path);
  throw wrongContent(path, "a JWK or an RSA key in PEM", "neither");
}

const jwkAlgorithms = new Map([
  [16, ["A128GCMKW", "A128GCM"]],
  [24, ["A192GCMKW", "A192GCM"]],
  [32, ["A256GCMKW", "A256GCM"]],
]);

// JSON strings cannot be wiped: the key stays in memory until that text is collected.
function parseJwk(text: Buffer, path: string): ParsedKey {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text.toString("utf8"));
  } catch {
    throw wrongContent(path, "a JWK", "broken JSON"); // no cause: the parser's error quotes the text
  }
  if (!isRecord(jwk)) throw wrongContent(path, "a JWK", "other JSON");
  const { kty, k, kid, alg, use } = jwk;
  if (kty !== "oct") throw wrongContent(path, 'a JWK with "kty" oct', "another type of key");
  if (use !== undefined && use !== "enc") throw wrongContent(path, "a JWK for encryption", "another use");
  if (kid !== undefined && typeof kid !== "string")
    throw wrongContent(path, 'a JWK with a string as "kid"', typeof kid);
  if (typeof k !== "string" || !/^[A-Za-z0-9_-]+$/.test(k))
    throw wrongContent(
      path,
      'a JWK with base64url as "k"',
      typeof k === "string" ? "another text" : typeof k,
    );
  const decoded = Buffer.from(k, "base64url");
  const key = allocateSecret(decoded.length);
  key.set(decoded);
  wipe(decoded);
  try {
    const allowed = jwkAlgorithms.get(key.length);
    if (allowed === undefined) throw wrongLength(path, "16, 24 or 32 bytes", key.length);
    if (Math.ceil((key.length * 8) / 6) !== k.length || asBuffer(key).toString("base64url") !== k)
      throw wrongContent(path, 'a JWK with canonical base64url as "k"', "another text");
    if (isAllZeros(key))
      throw new RangeError(`"keyFile" expected a secret key, got all zeros in ${shorten(path, 500)}`);
    if (alg !== undefined && (typeof alg !== "string" || !allowed.includes(alg)))
      throw wrongContent(path, `a JWK with "alg" ${allowed.join(" or ")}, or none`, "another one");
    return { kind: "aes", key: createSecretKey(key), keyName: kid };
  } finally {
    wipe(key);
  }
}

function parsePem(text: Buffer, path: string): ParsedKey {
  const label = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text.subarray(0, 64).toString("latin1"))?.[1];
  if (text.indexOf("-----BEGIN ", 1) >= 0) throw wrongContent(path, "one key", "several PEM blocks");
  if (label === "ENCRYPTED PRIVATE KEY" || text.includes("Proc-Type: 4,ENCRYPTED"))
    throw wrongContent(path, "a key without passphrase", "an encrypted one");
  const isPrivate = label === "PRIVATE KEY" || label === "RSA PRIVATE KEY";
  if (!isPrivate && label !== "PUBLIC KEY" && label !== "RSA PUBLIC KEY")
    throw wrongContent(path, "a private or public RSA key", "another PEM block");
  let key: KeyObject;
  try {
    key = isPrivate ? createPrivateKey(text) : createPublicKey(text);
  } catch {
    throw wrongContent(path, "an RSA key in PEM", "a broken one");
  }
  if (key.asymmetricKeyType !== "rsa")
    throw wrongContent(path, "an RSA key", `one of type ${key.asymmetricKeyType}`);
  const keyName = rsaKeyName(isPrivate ? createPublicKey(key) : key);
  return { kind: isPrivate ? "rsa-private" : "rsa-public", key, keyName };
}

// Built as bytes, so that it can be wiped; `base64url` output is the one string that cannot.
function encodeJwk(kid: string, key: Uint8Array): Buffer {
  const alg = jwkAlgorithms.get(key.length)?.[0];
  return Buffer.from(`${JSON.stringify({ kty: "oct", kid, alg, k: asBuffer(key).toString("base64url") })}\n`);
}

/** Writes new files in that order, or none of them. @throws FramesealError NOT_DURABLE when all are there */
async function writeNewFiles(...files: readonly KeyFileContent[]): Promise<void> {
  const made: NewFile[] = [];
  const published: string[] = [];
  let notDurable: unknown;
  try {
    for (const { path, content, mode } of files) {
      const file = await NewFile.create(path, { mode });
      made.push(file);
      await file.write(content, 0);
    }
    for (const [index, file] of made.entries()) {
      await file.publish().catch((error: unknown) => {
        if (!hasCode(error, "NOT_DURABLE")) throw error;
        notDurable ??= error;
      });
      published.push(files[index]?.path ?? "");
    }
  } catch (error) {
    for (const path of published) await unlink(path);
    throw error;
  } finally {
    for (const file of made) await file.discard();
  }
  if (notDurable !== undefined) throw notDurable;
}

interface KeyFileContent {
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrongContent(path: string, expected: string, got: string): TypeError {
  return new TypeError(`"keyFile" expected ${expected}, got ${got} in ${shorten(path, 500)}`);
}
function wrongLength(path: string, expected: string, got: number): RangeError {
  return new RangeError(`"keyFile" expected a key of ${expected}, got ${got} bytes in ${shorten(path, 500)}`);
}
