// Objects of the Amazon S3 Encryption Clients: the envelope in the metadata or in an instruction file, the body one GCM
// message. Versions 3 and 2 are written; version 1, CBC and the wraps of old clients are read behind two gates.
// Rules: aws-encryption-sdk-specification, s3-encryption/data-format/ and key-commitment.md.
import type { Readable } from "node:stream";
import { wipe } from "../../bytes.ts";
import { TAG_LENGTH } from "../../engine/engine.ts";
import { type EngineOption, selectEngine } from "../../engine/select-engine.ts";
import { FramesealError, hasCode, notAuthentic, throwIfAborted } from "../../errors.ts";
import type { EncryptionContext } from "../../format/encryption-context.ts";
import { type CommitmentPolicy, checkPolicyName, DEFAULT_COMMITMENT_POLICY } from "../../format/suite.ts";
import type { Keyring } from "../../keyring/keyring.ts";
import { quote } from "../../quote.ts";
import type {
  KeyBinding,
  ObjectFormat,
  ObjectLocation,
  ObjectMetadata,
  ObjectSealer,
  OpenedObject,
  OpenedRange,
  SealRequest,
  SizeRule,
  StoredObject,
} from "../object-format.ts";
import { envelopeNames, INSTRUCTION_FILE_SUFFIX } from "../object-metadata.ts";
import { isForbidden } from "../object-source.ts";
import { type RequestedRange, resolveRequestedRange } from "../requested-range.ts";
import { bodyInRanges, StoredBytes } from "../stored-bytes.ts";
import { type AuthenticationMode, DEFAULT_BUFFER_SIZE, openGcmBody, resolveMode } from "./body.ts";
import {
  commitmentOf,
  contentKeyOf,
  createGcmContent,
  drawUnique,
  gcmParametersOf,
  sideKeyOf,
} from "./content-key.ts";
import { allEnvelopeNames, type Envelope, encodeEnvelope, envelopePlace, parseEnvelope } from "./envelope.ts";
import {
  decodeInstructionFile,
  encodeInstructionFile,
  isInstructionFile,
  MAX_INSTRUCTION_FILE_LENGTH,
} from "./instruction-file.ts";
import { checkGcmLength, SingleMessageSealer, type SingleMessageState } from "./sealer.ts";
import {
  cbcRangeStart,
  openCbcRange,
  openGcmRange,
  rangeStart,
  readCbcLength,
} from "./unauthenticated-body.ts";
import {
  checkWrapAllowed,
  checkWriter,
  generateWrappedKey,
  unwrapCandidates,
  unwrapDataKey,
} from "./wrapped-key.ts";

/** How objects of the S3 Encryption Clients are written and read. Only `keyring` is needed. */
export interface SingleMessageOptions {
  readonly keyring: Keyring;
  /** With KMS: stored, and demanded on read pair by pair, neither more nor less. Not for raw keys. */
  readonly encryptionContext?: EncryptionContext | undefined;
  /** These objects are bound to nothing: any other binding than `none` refuses to read them. By default they are read. */
  readonly bind?: KeyBinding | undefined;
  /** Version 2 is written under FORBID_ENCRYPT_ALLOW_DECRYPT only, version 3 under the others. */
  readonly commitmentPolicy?: CommitmentPolicy | undefined;
  readonly engine?: EngineOption | undefined;
  /** When plaintext is released; by default `verified`. */
  readonly authentication?: AuthenticationMode | undefined;
  /** Plaintext held in memory until its tag was compared, in bytes; by default 64 MiB. */
  readonly bufferSize?: number | undefined;
  /** Reads data keys that old clients wrapped without authentication; by default false. */
  readonly enableLegacyWrappingAlgorithms?: boolean | undefined;
  /** Reads what nothing authenticates: CBC bodies, and ranges; by default false. */
  readonly enableLegacyUnauthenticatedModes?: boolean | undefined;
  /** Whether the envelope of an object may be in an instruction file, or is written there; by default `read`. */
  readonly instructionFiles?: "read" | "write" | "ignore" | undefined;
  /** What stands behind the key of an object in the key of its instruction file; by default `.instruction`. */
  readonly instructionFileSuffix?: string | undefined;
}

/** Options as they are used. */
type Settings = {
  readonly [Name in Exclude<keyof SingleMessageOptions, "engine">]-?: NonNullable<SingleMessageOptions[Name]>;
} & { readonly engine: EngineOption | undefined };

function settingsOf(options: SingleMessageOptions): Settings {
  const settings: Settings = {
    keyring: options.keyring,
    encryptionContext: Object.freeze({ ...options.encryptionContext }),
    bind: options.bind ?? "none",
    commitmentPolicy: options.commitmentPolicy ?? DEFAULT_COMMITMENT_POLICY,
    engine: options.engine,
    authentication: options.authentication ?? "verified",
    bufferSize: options.bufferSize ?? DEFAULT_BUFFER_SIZE,
    enableLegacyWrappingAlgorithms: options.enableLegacyWrappingAlgorithms ?? false,
    enableLegacyUnauthenticatedModes: options.enableLegacyUnauthenticatedModes ?? false,
    instructionFiles: options.instructionFiles ?? "read",
    instructionFileSuffix: options.instructionFileSuffix ?? INSTRUCTION_FILE_SUFFIX,
  };
  checkPolicyName(settings.commitmentPolicy);
  oneOf("authentication", settings.authentication, ["verified", "buffered", "two-pass", "delayed"]);
  oneOf("instructionFiles", settings.instructionFiles, ["read", "write", "ignore"]);
  if (!Number.isSafeInteger(settings.bufferSize) || settings.bufferSize < 0)
    throw new RangeError(`"bufferSize" expected a whole number of bytes, got ${settings.bufferSize}`);
  if (typeof settings.instructionFileSuffix !== "string" || settings.instructionFileSuffix === "")
    throw new TypeError('"instructionFileSuffix" expected a string that is not empty');
  return settings;
}

function oneOf(name: string, value: string, values: readonly string[]): void {
  if (!values.includes(value))
    throw new TypeError(`"${name}" expected one of ${values.join(", ")}, got ${quote(String(value))}`);
}

/** The formats `s3ec-v3` and `s3ec-v2`. Either reads all versions. */
export class SingleMessageFormat implements ObjectFormat {
  readonly name: "s3ec-v3" | "s3ec-v2";
  readonly #version: 2 | 3;
  readonly #settings: Settings;

  /** @throws TypeError, RangeError */
  constructor(version: 2 | 3, options: SingleMessageOptions) {
    this.name = `s3ec-v${version}`;
    this.#version = version;
    this.#settings = settingsOf(options);
  }

  /**
   * Checks that objects of this version may be written.
   * @throws TypeError, FramesealError POLICY, NO_DATA_KEY
   */
  checkWritable(): void {
    const { commitmentPolicy, keyring, encryptionContext } = this.#settings;
    const forbids = commitmentPolicy === "FORBID_ENCRYPT_ALLOW_DECRYPT";
    if (forbids !== (this.#version === 2))
      throw new FramesealError(
        "POLICY",
        `commitment policy ${commitmentPolicy} does not allow to write ${this.name}`,
      );
    checkWriter(keyring, encryptionContext);
  }

  async startObject({ location, plaintextLength, signal }: SealRequest): Promise<ObjectSealer> {
    this.checkWritable();
    if (plaintextLength !== undefined) checkGcmLength(plaintextLength);
    throwIfAborted(signal);
    const { keyring, encryptionContext } = this.#settings;
    const content = this.#version === 3 ? "committing-gcm" : "gcm";
    const { dataKey, ...wrapped } = await generateWrappedKey(content, { keyring, encryptionContext, signal });
    try {
      const unique = drawUnique(this.#version);
      const envelope: Envelope =
        this.#version === 3
          ? {
              ...wrapped,
              version: 3,
              content: "committing-gcm",
              messageId: unique,
              commitment: commitmentOf(dataKey, unique),
            }
          : { ...wrapped, version: 2, content: "gcm", iv: unique };
      return this.#createSealer(envelope, dataKey, this.#sideKeyOf(location));
    } finally {
      wipe(dataKey);
    }
  }

  async resumeObject(state: unknown, { signal }: SealRequest): Promise<ObjectSealer> {
    const saved = state as SingleMessageState | null;
    if (typeof saved?.envelope !== "object" || typeof saved.partials !== "string")
      throw new TypeError('"state" expected what exportState returned');
    this.checkWritable();
    const envelope = parseEnvelope(saved.envelope);
    // What may be read may not always be written.
    if (envelope.version !== this.#version || envelope.content === "cbc")
      throw new FramesealError("POLICY", `an upload of another format cannot go on as ${this.name}`);
    checkWrapAllowed(envelope, false);
    const dataKey = await this.#unwrap(envelope, signal);
    try {
      const sealer = this.#createSealer(envelope, dataKey, saved.sideObjectKey);
      sealer.mergeState(saved);
      return sealer;
    } finally {
      wipe(dataKey);
    }
  }

  #sideKeyOf({ key }: ObjectLocation): string | undefined {
    const { instructionFiles, instructionFileSuffix } = this.#settings;
    return instructionFiles === "write" ? `${key}${instructionFileSuffix}` : undefined;
  }

  #createSealer(envelope: Envelope, dataKey: Uint8Array, sideKey: string | undefined): SingleMessageSealer {
    const { bound, movable } = encodeEnvelope(envelope);
    const sideObject = sideKey === undefined ? undefined : encodeInstructionFile(sideKey, movable);
    return new SingleMessageSealer({
      content: createGcmContent(
        selectEngine(this.#settings.engine),
        contentKeyOf(envelope, dataKey),
        gcmParametersOf(envelope),
      ),
      metadata: Object.freeze({ ...bound, ...(sideObject === undefined ? movable : {}) }),
      sideObject,
      ledgerKey: sideKeyOf(dataKey, envelope, "part ledger"),
      stateKey: sideKeyOf(dataKey, envelope, "upload state"),
      envelope: Object.freeze({ ...bound, ...movable }),
    });
  }

  async recognises(object: StoredObject): Promise<boolean> {
    const place = envelopePlace(object.metadata);
    if (place !== "unknown") return true;
    try {
      return (await this.#fetchFile(object)) !== undefined;
    } catch (error) {
      if (isForbidden(error)) return false;
      throw error;
    }
  }

  async openWhole(object: StoredObject, body: Readable): Promise<OpenedObject> {
    try {
      this.#checkBound();
      const envelope = await this.readEnvelope(object);
      const { authentication, bufferSize, engine } = this.#settings;
      const plaintextLength = gcmLength(object, envelope);
      const mode = resolveMode(authentication, plaintextLength ?? 0, bufferSize);
      const contentKey = await this.#contentKey(envelope, object.signal);
      if (envelope.content === "cbc")
        try {
          const length = await readCbcLength(object, contentKey, envelope.iv);
          return { plaintextLength: length, body: openCbcRange(body, contentKey, envelope.iv, 0, length) };
        } finally {
          wipe(contentKey);
        }
      const content = createGcmContent(selectEngine(engine), contentKey, gcmParametersOf(envelope));
      return { plaintextLength: plaintextLength ?? 0, body: openGcmBody(object, body, content, mode) };
    } catch (error) {
      body.destroy();
      throw error;
    }
  }

  async openRange(object: StoredObject, range: RequestedRange, head: Uint8Array): Promise<OpenedRange> {
    this.#checkBound();
    const envelope = await this.readEnvelope(object);
    if (!this.#settings.enableLegacyUnauthenticatedModes)
      throw new FramesealError(
        "POLICY",
        "Enable legacy unauthenticated modes to use ranges of this object: its format authenticates it only as a whole",
      );
    const known = gcmLength(object, envelope);
    const key = await this.#contentKey(envelope, object.signal);
    try {
      const stored = new StoredBytes(object, head);
      if (envelope.content === "cbc") {
        const plaintextLength = await readCbcLength(object, key, envelope.iv);
        const { start, end } = resolveRequestedRange(range, plaintextLength);
        const source = await stored.stream(cbcRangeStart(start), rangeStart(end - 1) + 16);
        return { start, end, plaintextLength, body: openCbcRange(source, key, envelope.iv, start, end) };
      }
      const plaintextLength = known ?? 0;
      const { start, end } = resolveRequestedRange(range, plaintextLength);
      const { iv } = gcmParametersOf(envelope);
      const source = await stored.stream(rangeStart(start), end); // never the tag
      return { start, end, plaintextLength, body: openGcmRange(source, key, iv, start, end) };
    } finally {
      wipe(key);
    }
  }

  async sizeRule(object: StoredObject): Promise<SizeRule> {
    const envelope = await this.readEnvelope(object);
    if (envelope.content !== "cbc")
      return { name: "gcm", isExact: true, lengthOf: (_, stored) => gcmPlaintextLength(stored) };
    // What the object says, where its padding of 1 to 16 bytes allows it; else the most that it can hold.
    const hint = Number(object.metadata[envelopeNames.plaintextLength] ?? Number.NaN);
    const padding = object.storedLength - hint;
    const isExact = Number.isSafeInteger(hint) && hint >= 0 && padding >= 1 && padding <= 16;
    return {
      name: undefined,
      isExact,
      lengthOf: (_, stored) => Math.max(0, stored - (isExact ? padding : 1)),
    };
  }

  ownsMetadata(name: string): boolean {
    return allEnvelopeNames.has(name);
  }

  async checkCopy(_from: ObjectLocation, _to: ObjectLocation, object: StoredObject): Promise<void> {
    if (envelopePlace(object.metadata) !== "metadata")
      throw new FramesealError(
        "POLICY",
        "the instruction file of the object would not be copied with it: encrypt it again",
      );
  }

  sideObjectKeys(key: string): readonly string[] {
    const { instructionFiles, instructionFileSuffix } = this.#settings;
    return instructionFiles !== "ignore" ? [`${key}${instructionFileSuffix}`] : [];
  }

  isSideObject(object: { readonly metadata: ObjectMetadata; readonly body: Uint8Array }): boolean {
    return isInstructionFile(object.metadata, object.body);
  }

  /** The envelope of an object, checked against policy and gates before any key is touched. */
  async readEnvelope(object: StoredObject): Promise<Envelope> {
    const { metadata } = object;
    const file = envelopePlace(metadata) === "metadata" ? undefined : await this.#fetchFile(object);
    const envelope = parseEnvelope(metadata, file);
    this.#checkReadable(envelope);
    return envelope;
  }

  /** @throws FramesealError CONTEXT_MISMATCH */
  #checkBound(): void {
    const { bind } = this.#settings;
    if (bind !== "none")
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object is bound to nothing, as all of its format, and "bind" demands ${bind}: leave it out, or set it to none`,
      );
  }

  /** @throws FramesealError POLICY */
  #checkReadable(envelope: Envelope): void {
    const { commitmentPolicy, enableLegacyUnauthenticatedModes, enableLegacyWrappingAlgorithms } =
      this.#settings;
    if (commitmentPolicy === "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" && envelope.content !== "committing-gcm")
      throw new FramesealError(
        "POLICY",
        `commitment policy ${commitmentPolicy} does not allow to read this object: it does not commit to its key`,
      );
    if (envelope.content === "cbc" && !enableLegacyUnauthenticatedModes)
      throw new FramesealError(
        "POLICY",
        "Enable legacy unauthenticated modes to read this object: nothing authenticates its content (AES/CBC)",
      );
    checkWrapAllowed(envelope, enableLegacyWrappingAlgorithms);
  }

  async #fetchFile(object: StoredObject): Promise<ObjectMetadata | undefined> {
    const { instructionFiles, instructionFileSuffix } = this.#settings;
    if (instructionFiles === "ignore") return undefined;
    const key = `${object.location.key}${instructionFileSuffix}`;
    const file = await object.source.fetchSideObject(key, MAX_INSTRUCTION_FILE_LENGTH);
    return file === undefined ? undefined : decodeInstructionFile(file.body);
  }

  /**
   * Unwraps the data key and proves that it is the one of the body: by the commitment of version 3, else by the tag of the
   * body, which is read whole for that. A wrap alone proves nothing: some cannot fail, and all can be exchanged. The caller
   * wipes the key.
   */
  async unwrapProven(object: StoredObject, envelope: Envelope): Promise<Uint8Array> {
    this.#checkBound();
    const { keyring, encryptionContext } = this.#settings;
    const options = { keyring, encryptionContext, signal: object.signal };
    for await (const dataKey of unwrapCandidates(envelope, options)) {
      try {
        await this.#prove(object, envelope, dataKey);
        return dataKey;
      } catch (error) {
        wipe(dataKey);
        if (!hasCode(error, "AUTHENTICATION_FAILED")) throw error;
      }
    }
    throw notAuthentic();
  }

  async #prove(object: StoredObject, envelope: Envelope, dataKey: Uint8Array): Promise<void> {
    const contentKey = contentKeyOf(envelope, dataKey);
    if (envelope.content === "committing-gcm") return wipe(contentKey);
    if (gcmLength(object, envelope) === undefined) throw new Error("internal error: CBC proves nothing");
    const engine = selectEngine(this.#settings.engine);
    const content = createGcmContent(engine, contentKey, gcmParametersOf(envelope));
    const plaintext = openGcmBody(object, bodyInRanges(object), content, "delayed");
    for await (const piece of plaintext as AsyncIterable<Buffer>) wipe(piece);
  }

  #unwrap(envelope: Envelope, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { keyring, encryptionContext } = this.#settings;
    return unwrapDataKey(envelope, { keyring, encryptionContext, signal });
  }

  // Unwraps and derives; the commitment has been compared when this resolves.
  async #contentKey(envelope: Envelope, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const dataKey = await this.#unwrap(envelope, signal);
    try {
      return contentKeyOf(envelope, dataKey);
    } finally {
      wipe(dataKey);
    }
  }
}

/** The plaintext length of a GCM body; undefined for CBC. */
function gcmLength({ storedLength }: StoredObject, envelope: Envelope): number | undefined {
  return envelope.content === "cbc" ? undefined : gcmPlaintextLength(storedLength);
}

function gcmPlaintextLength(storedLength: number): number {
  if (storedLength < TAG_LENGTH)
    throw new FramesealError("TRUNCATED", "object is shorter than its authentication tag");
  checkGcmLength(storedLength - TAG_LENGTH);
  return storedLength - TAG_LENGTH;
}
