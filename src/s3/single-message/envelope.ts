// The envelope of single-message objects: metadata names <-> values, in the three versions of the Amazon S3 Encryption
// Clients. Nothing here is authenticated; everything is checked for form and for contradictions before a key is used.
import { asBuffer } from "../../bytes.ts";
import { FramesealError } from "../../errors.ts";
import type { EncryptionContext } from "../../format/encryption-context.ts";
import type { ObjectMetadata } from "../object-format.ts";
import { envelopeNames } from "../object-metadata.ts";
import { decodeMetadataText, encodeAsciiJson, parseStringMap } from "./metadata-text.ts";

/** How the content is encrypted: GCM with commitment (version 3), GCM, or CBC. */
export type ContentAlgorithm = "committing-gcm" | "gcm" | "cbc";

/** How the data key is wrapped, by the names of version 2. */
export type WrapAlgorithm =
  | "AES/GCM"
  | "RSA-OAEP-SHA1"
  | "kms+context"
  | "kms"
  | "AESWrap"
  | "AES"
  | "RSA"
  | "RSA/ECB/OAEPWithSHA-256AndMGF1Padding";

interface CommonEnvelope {
  readonly wrap: WrapAlgorithm;
  readonly encryptedDataKey: Uint8Array;
  /** Material description of a raw key, or the whole encryption context that KMS is told. */
  readonly description: EncryptionContext;
}

/** Version 3. */
export interface CommittingEnvelope extends CommonEnvelope {
  readonly version: 3;
  readonly content: "committing-gcm";
  /** 28 bytes. */
  readonly messageId: Uint8Array;
  /** 28 bytes. */
  readonly commitment: Uint8Array;
}

/** Versions 1 and 2. */
export interface PlainEnvelope extends CommonEnvelope {
  readonly version: 1 | 2;
  readonly content: "gcm" | "cbc";
  /** 12 bytes for GCM, 16 for CBC. */
  readonly iv: Uint8Array;
}

export type Envelope = CommittingEnvelope | PlainEnvelope;

/** Length of message id and commitment. */
export const MESSAGE_ID_LENGTH = 28;

/** `x-amz-cek-alg` of each algorithm; in version 3 the suite number takes its place. */
export const contentAlgorithmNames: Readonly<Record<ContentAlgorithm, string>> = {
  "committing-gcm": "115",
  gcm: "AES/GCM/NoPadding",
  cbc: "AES/CBC/PKCS5Padding",
};

const wrapCodes: Readonly<Record<string, WrapAlgorithm>> = {
  "02": "AES/GCM",
  "12": "kms+context",
  "22": "RSA-OAEP-SHA1",
};
const wrapNames: ReadonlySet<string> = new Set<WrapAlgorithm>([
  "AES/GCM",
  "RSA-OAEP-SHA1",
  "kms+context",
  "kms",
  "AESWrap",
  "AES",
  "RSA",
  "RSA/ECB/OAEPWithSHA-256AndMGF1Padding",
]);

const n = envelopeNames;
const versionKeys: readonly string[] = [n.key1, n.key2, n.key3];
const olderNames: readonly string[] = [
  ...[n.key1, n.key2, n.iv, n.description, n.contentAlgorithm, n.wrapAlgorithm, n.tagLength],
];
const newerNames: readonly string[] = [
  ...[n.suite3, n.key3, n.wrap3, n.commitment3, n.messageId3, n.description3, n.context3],
];
/** These stay in the metadata of the object, where an exchanged instruction file cannot change them. */
const boundNames: readonly string[] = [n.suite3, n.commitment3, n.messageId3];
const fileNames3: readonly string[] = [n.key3, n.wrap3, n.description3, n.context3];

/** Every metadata name of these objects. */
export const allEnvelopeNames: ReadonlySet<string> = new Set(Object.values(envelopeNames));

// An empty value counts as none.
const has = (metadata: ObjectMetadata, name: string): boolean => (metadata[name] ?? "") !== "";

/**
 * Where the envelope of an object is: in its metadata, in an instruction file, or not here at all as far as the
 * metadata tells (then it may still be an object of version 1 or 2 with an instruction file).
 * @throws FramesealError INVALID_METADATA when versions are mixed or entries are missing
 */
export function envelopePlace(metadata: ObjectMetadata): "metadata" | "file" | "unknown" {
  const older = olderNames.some((name) => has(metadata, name));
  const newer = newerNames.some((name) => has(metadata, name));
  if (older && newer) throw invalid("the metadata of the object mixes versions of its envelope");
  if (!older && !newer) return "unknown";
  if (versionKeys.filter((name) => has(metadata, name)).length > 1)
    throw invalid("the metadata of the object holds more than one wrapped key");
  if (older) {
    require(metadata, versionKeys.some((name) => has(metadata, name)) ? [n.iv] : [n.key2]);
    return "metadata";
  }
  require(metadata, boundNames);
  if (has(metadata, n.key3)) return "metadata";
  if (fileNames3.some((name) => has(metadata, name))) throw invalid(`"${n.key3}" of the object is missing`);
  return "file";
}

/**
 * Parses an envelope.
 * @param file the content of the instruction file, when the envelope is there
 * @throws FramesealError INVALID_METADATA, UNSUPPORTED for algorithms that are not known
 */
export function parseEnvelope(metadata: ObjectMetadata, file?: ObjectMetadata): Envelope {
  const place = envelopePlace(metadata);
  if (file === undefined) {
    if (place !== "metadata") throw invalid("the metadata of the object holds no wrapped key");
    return has(metadata, n.key3) ? parseNewer(metadata) : parseOlder(metadata);
  }
  if (place === "metadata") throw invalid("the object has an envelope of its own and an instruction file");
  for (const name of Object.keys(file))
    if (!allEnvelopeNames.has(name)) throw invalid("the instruction file holds an entry that is not known");
  if (place === "file") {
    for (const name of Object.keys(file))
      if (!fileNames3.includes(name)) throw invalid(`the instruction file must not hold "${name}"`);
    return parseNewer(Object.assign(Object.create(null), file, pick(metadata, boundNames)));
  }
  if (newerNames.some((name) => has(file, name)))
    throw invalid("the instruction file is of another version than the object");
  if (envelopePlace(file) !== "metadata") throw invalid("the instruction file holds no wrapped key");
  return parseOlder(file);
}

function parseNewer(metadata: ObjectMetadata): CommittingEnvelope {
  require(metadata, [...boundNames, n.key3, n.wrap3]);
  if (metadata[n.suite3] !== contentAlgorithmNames["committing-gcm"]) throw unknown(n.suite3);
  const wrap = Object.hasOwn(wrapCodes, metadata[n.wrap3] ?? "")
    ? wrapCodes[metadata[n.wrap3] ?? ""]
    : undefined;
  if (wrap === undefined) throw unknown(n.wrap3);
  const [mine, other] = wrap === "kms+context" ? [n.context3, n.description3] : [n.description3, n.context3];
  if (has(metadata, other)) throw invalid(`"${other}" of the object does not fit its wrapped key`);
  if (wrap === "kms+context") require(metadata, [mine]);
  const messageId = bytesOf(metadata, n.messageId3, MESSAGE_ID_LENGTH);
  if (messageId.every((byte) => byte === 0)) throw invalid(`"${n.messageId3}" of the object is zero`);
  return {
    version: 3,
    content: "committing-gcm",
    wrap,
    encryptedDataKey: bytesOf(metadata, n.key3),
    description: mapOf(metadata, mine),
    messageId,
    commitment: bytesOf(metadata, n.commitment3, MESSAGE_ID_LENGTH),
  };
}

function parseOlder(metadata: ObjectMetadata): PlainEnvelope {
  const version = has(metadata, n.key1) ? 1 : 2;
  const encryptedDataKey = bytesOf(metadata, version === 1 ? n.key1 : n.key2);
  const description = mapOf(metadata, n.description);
  let content: "gcm" | "cbc";
  let wrap: WrapAlgorithm;
  if (version === 1) {
    // Nothing else is recorded; a data key of 32 bytes under AES with padding has 48.
    for (const name of [n.contentAlgorithm, n.wrapAlgorithm, n.tagLength])
      if (has(metadata, name))
        throw invalid(`"${name}" of the object does not fit version 1 of its envelope`);
    content = "cbc";
    wrap = encryptedDataKey.length > 48 ? "RSA" : "AES";
  } else {
    require(metadata, [n.contentAlgorithm, n.wrapAlgorithm]);
    const name = metadata[n.contentAlgorithm];
    if (name !== contentAlgorithmNames.gcm && name !== contentAlgorithmNames.cbc)
      throw unknown(n.contentAlgorithm);
    content = name === contentAlgorithmNames.gcm ? "gcm" : "cbc";
    const wrapName = metadata[n.wrapAlgorithm] ?? "";
    if (!wrapNames.has(wrapName)) throw unknown(n.wrapAlgorithm);
    wrap = wrapName as WrapAlgorithm;
    if (content === "gcm" && has(metadata, n.tagLength) && metadata[n.tagLength] !== "128")
      throw unknown(n.tagLength);
  }
  const iv = bytesOf(metadata, n.iv, content === "gcm" ? 12 : 16);
  if (iv.every((byte) => byte === 0)) throw invalid(`"${n.iv}" of the object is zero`);
  return { version, content, wrap, encryptedDataKey, description, iv };
}

/**
 * The entries of an envelope: for the metadata of the object, and those that an instruction file would take over.
 * Only what clients write today: versions 2 and 3 with GCM.
 */
export function encodeEnvelope(envelope: Envelope): { bound: ObjectMetadata; movable: ObjectMetadata } {
  const encryptedDataKey = base64(envelope.encryptedDataKey);
  const description = encodeAsciiJson(envelope.description);
  if (envelope.version !== 3)
    return {
      bound: {},
      movable: {
        [n.key2]: encryptedDataKey,
        [n.iv]: base64(envelope.iv),
        [n.contentAlgorithm]: contentAlgorithmNames[envelope.content],
        [n.wrapAlgorithm]: envelope.wrap,
        [n.description]: description,
        ...(envelope.content === "gcm" ? { [n.tagLength]: "128" } : {}),
      },
    };
  const code = Object.keys(wrapCodes).find((key) => wrapCodes[key] === envelope.wrap);
  if (code === undefined) throw new Error("internal error: version 3 has no such wrap");
  return {
    bound: {
      [n.suite3]: contentAlgorithmNames["committing-gcm"],
      [n.commitment3]: base64(envelope.commitment),
      [n.messageId3]: base64(envelope.messageId),
    },
    movable: {
      [n.key3]: encryptedDataKey,
      [n.wrap3]: code,
      [envelope.wrap === "kms+context" ? n.context3 : n.description3]: description,
    },
  };
}

function require(metadata: ObjectMetadata, names: readonly string[]): void {
  for (const name of names) if (!has(metadata, name)) throw invalid(`"${name}" of the object is missing`);
}

function pick(metadata: ObjectMetadata, names: readonly string[]): ObjectMetadata {
  return Object.fromEntries(names.map((name) => [name, metadata[name] ?? ""]));
}

function mapOf(metadata: ObjectMetadata, name: string): EncryptionContext {
  const value = metadata[name] ?? "";
  return value === "" ? Object.freeze(Object.create(null)) : parseStringMap(decodeMetadataText(value), name);
}

function bytesOf(metadata: ObjectMetadata, name: string, length?: number): Uint8Array {
  const value = metadata[name] ?? "";
  const bytes = Uint8Array.from(Buffer.from(value, "base64"));
  if (bytes.length === 0 || base64(bytes) !== value) throw invalid(`"${name}" of the object is not base64`);
  if (length !== undefined && bytes.length !== length)
    throw invalid(`"${name}" of the object has ${bytes.length} bytes instead of ${length}`);
  return bytes;
}

function base64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString("base64");
}

function invalid(message: string): FramesealError {
  return new FramesealError("INVALID_METADATA", message);
}

function unknown(name: string): FramesealError {
  return new FramesealError("UNSUPPORTED", `"${name}" of the object names an algorithm that is not known`);
}
