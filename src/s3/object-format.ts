// What a format of encrypted S3 objects is: how plaintext becomes stored bytes and metadata, part by part, and how
// stored bytes become plaintext again. The client plugin knows requests and parts; a format knows bytes and keys.
import type { Readable } from "node:stream";
import { type Checks, needed, text } from "../check-options.ts";
import type { MessageHeader } from "../format/header.ts";
import type { RequestedRange } from "./requested-range.ts";

/** Which object is meant. */
export interface ObjectLocation {
  readonly bucket: string;
  readonly key: string;
}

/** The options that say so. */
export const LOCATION: Checks<ObjectLocation> = { bucket: needed(text), key: needed(text) };

/** What of its location an object can be bound to. */
export const objectBindings = ["key", "bucket", "prefix", "none"] as const;

/**
 * What an object is bound to: its whole key, its key and its bucket, the key up to its last slash, or nothing.
 */
export type KeyBinding = (typeof objectBindings)[number];

/** User metadata: names in lower case without `x-amz-meta-`. */
export type ObjectMetadata = Readonly<Record<string, string>>;

/** What is known when an object is started. */
export interface SealRequest {
  readonly location: ObjectLocation;
  /** The plaintext length or an upper bound of it, if it is known. */
  readonly plaintextLength?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where a part lies in the plaintext. */
export interface PartPosition {
  readonly offset: number;
  readonly length: number;
  /** `last` ends the object; after `more` something follows, if only what `close` returns. */
  readonly place: "more" | "last";
}

/** The stored bytes of a part. */
export interface SealedPart {
  readonly bytes: Uint8Array;
  /**
   * False for a last part whose closing bytes (a tag over the whole object) cannot be made yet, because parts before it
   * are still missing. The plugin keeps such a part and sends it again, with what `close` returns behind it.
   */
  readonly closed: boolean;
}

/** Another object that must be stored for this one to be readable, such as an instruction file. */
export interface SideObject {
  readonly key: string;
  readonly body: Uint8Array;
  readonly metadata: ObjectMetadata;
  /** What makes the object readable without this one, when it is added to its metadata. */
  readonly entries: ObjectMetadata;
}

/**
 * Seals one object. The plugin calls `sealPart` in any order, and twice for one offset only after its ledger has shown
 * that the bytes are the same: sealing the same bytes again must give the same stored bytes.
 */
export interface ObjectSealer {
  /** Added to the metadata of the object. Not secret. */
  readonly metadata: ObjectMetadata;
  /** Stored next to the object, after it. */
  readonly sideObject?: SideObject | undefined;
  /** Parts start at multiples of this many bytes of plaintext. */
  readonly alignment: number;
  /** Stored bytes of the whole object for this length. */
  storedLength(plaintextLength: number): number;
  /** Returns a key of 32 bytes for the digests of the part ledger, always the same for one object. Caller wipes it. */
  ledgerKey(): Uint8Array;
  /**
   * Seals a part. The chunks hold `position.length` bytes and are not used after the promise has settled.
   * @param output where the stored bytes may go if they fit; those of the result say where they are
   */
  sealPart(chunks: readonly Uint8Array[], position: PartPosition, output?: Uint8Array): Promise<SealedPart>;
  /** Returns the bytes that end an object whose last part was not closed: a final frame or a tag. Repeatable. */
  close(plaintextLength: number): Promise<Uint8Array>;
  /** What `resumeObject` needs, as JSON: wrapped keys only. */
  exportState(): unknown;
  /**
   * Takes over what sealers of the same object elsewhere have kept of their parts, from their `exportState`, which was
   * authenticated. Present when parts leave something behind that `close` needs.
   */
  mergeState?(state: unknown): void;
  /** Wipes keys. Safe to call more than once. */
  dispose(): void;
}

/** Reads stored bytes of one object. All reads are pinned to the version (ETag) that was seen first. */
export interface ObjectSource {
  /** Resolves to exactly the bytes from `start` to `end` (exclusive). */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Resolves to a stream of exactly these bytes; it fails with TRUNCATED when the server sends fewer. */
  stream(start: number, end: number): Promise<Readable>;
  /** Fetches another object of the bucket, at most `maxLength` bytes; undefined if there is none. */
  fetchSideObject(
    key: string,
    maxLength: number,
  ): Promise<{ readonly metadata: ObjectMetadata; readonly body: Uint8Array } | undefined>;
}

/** An object as a server described it. Nothing of it is verified. */
export interface StoredObject {
  readonly location: ObjectLocation;
  readonly metadata: ObjectMetadata;
  /** Stored bytes of the whole object. */
  readonly storedLength: number;
  readonly source: ObjectSource;
  readonly signal?: AbortSignal | undefined;
}

/** Plaintext of a whole object. */
export interface OpenedObject {
  /** From the length of the stored object; only the end of `body` confirms it. */
  readonly plaintextLength: number;
  /** Fails instead of ending when anything is not authentic. */
  readonly body: Readable;
  /** What the object says about itself, verified, when its format has a header. */
  readonly header?: MessageHeader | undefined;
}

/** Plaintext of a range: `start` to `end` (exclusive). */
export interface OpenedRange extends OpenedObject {
  readonly start: number;
  readonly end: number;
}

/** How plaintext lengths follow from stored lengths, for one object and those that were stored alike. */
export interface SizeRule {
  /** The same for all that were stored alike; undefined when the rule holds for one object only. */
  readonly name: string | undefined;
  /** False when the plaintext may be shorter than the rule says. */
  readonly isExact: boolean;
  /** @throws FramesealError TRUNCATED, LIMIT_EXCEEDED when nothing that was stored so has this length */
  lengthOf(location: ObjectLocation, storedLength: number): number;
}

/** A format of encrypted objects. One instance serves many objects at a time. */
export interface ObjectFormat {
  readonly name: string;
  /** Starts a new object: asks the keyring for a data key. */
  startObject(request: SealRequest): Promise<ObjectSealer>;
  /** Goes on with an object from `exportState`: unwraps its data key again. */
  resumeObject(state: unknown, request: SealRequest): Promise<ObjectSealer>;
  /**
   * True if the metadata of the object, or what stands next to it, is of this format.
   * @throws FramesealError INVALID_METADATA when it is partly of this format or contradicts itself
   */
  recognises(object: StoredObject): boolean | Promise<boolean>;
  /**
   * Opens a whole object. `body` streams its stored bytes; a format that needs a second pass uses `object.source`. Must
   * destroy `body` when it fails. Resolves only after key and header were verified.
   */
  openWhole(object: StoredObject, body: Readable): Promise<OpenedObject>;
  /**
   * Opens a range. `head` holds the first stored bytes, as many as one small request gave.
   * @throws FramesealError RANGE_NOT_SATISFIABLE, POLICY when ranges cannot be verified and that was not asked for
   */
  openRange(object: StoredObject, range: RequestedRange, head: Uint8Array): Promise<OpenedRange>;
  /**
   * How long the plaintext is, judged without any key by what the object says about itself; for HeadObject and listings.
   * Not verified.
   */
  sizeRule(object: StoredObject): Promise<SizeRule>;
  /** True if a metadata name belongs to this format: the caller must not set it, and does not see it. */
  ownsMetadata(name: string): boolean;
  /**
   * Says whether the stored bytes of an object stay readable under another name.
   * @throws FramesealError POLICY when they do not
   */
  checkCopy(from: ObjectLocation, to: ObjectLocation, object: StoredObject): Promise<void>;
  /** Keys of objects that belong to the object `key`, and are deleted with it. */
  sideObjectKeys(key: string): readonly string[];
  /** True if what stands under such a key really is one, and no object of somebody else. */
  isSideObject(object: { readonly metadata: ObjectMetadata; readonly body: Uint8Array }): boolean;
}
