// AES-256-GCM in our own native code. The only file that loads the addon. The addon names keys and messages by number
// and checks every number and every length again; results are ordinary memory made here.
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { equalConstantTime } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import { checkBytes, checkLength, unshared } from "./chunk-cursor.ts";
import {
  type AeadKey,
  type Engine,
  type FrameCipher,
  type FrameFormat,
  type FrameOpener,
  type GcmOpener,
  type GcmSealer,
  NO_FINAL_FRAME,
  NONCE_LENGTH,
  type OpenedFrames,
  type OpenedInto,
  type OpenedSegment,
  type Pump,
  type PumpEnds,
  type PumpResult,
  type PumpStatus,
  type SealedSegment,
  type SegmentCipher,
  type SegmentPartial,
  TAG_LENGTH,
} from "./engine.ts";
import { addLength, checkChunks, checkFrameFormat, checkOutput, runLengths } from "./frame-run.ts";
import { type HashAddon, startNativeHash } from "./native-hash.ts";
import { nodeEngine } from "./node-engine.ts";
import { checkPartials, checkSegment } from "./node-segments.ts";
import { allocate as allocateOrdinary } from "./output-memory.ts";

type Bytes = Uint8Array;
type Chunks = readonly Uint8Array[];

/** The functions of the addon; native/*.h says what each does. */
interface Addon extends HashAddon {
  createKey(rawKey: Bytes, kernel: number): number;
  disposeKey(key: number): void;
  seal(key: number, nonce: Bytes, aad: Bytes, plaintext: Bytes, output: Bytes): void;
  open(key: number, nonce: Bytes, aad: Bytes, sealed: Bytes, output: Bytes): boolean;
  setScratch(scratch: Bytes): void;
  sealSmall(key: number, aadLength: number, plaintextLength: number): void;
  openSmall(key: number, aadLength: number, sealedLength: number): boolean;
  sealFrames: RunFunction<void>;
  openFrames: RunFunction<number>;
  startMessage(key: number, nonce: Bytes, aad: Bytes): number;
  sealUpdate: UpdateFunction;
  openUpdate: UpdateFunction;
  finishSeal(message: number, tag: Bytes): void;
  finishOpen(message: number, tag: Bytes): boolean;
  dropMessage(message: number): void;
  sealSegment: SegmentFunction;
  openSegment: SegmentFunction;
  finishSegments(key: number, nonce: Bytes, aad: Bytes, hashes: Bytes, lengths: Bytes, tag: Bytes): void;
  /** This and the next two are absent on systems that are not POSIX. */
  startPump?: (key: number, format: Bytes, head: Bytes, numbers: Bytes, onDone: PumpCallback) => number;
  pumpReadLength?: (pump: number) => number;
  cancelPump?: (pump: number) => void;
  adviseHugePages(output: Bytes): void;
  recycle(result: Bytes): void;
  kernels(): NativeKernel[];
  cpuFeatures(): string[];
}

type RunFunction<Result> = (
  key: number,
  format: Bytes,
  chunks: Chunks,
  output: Bytes,
  firstSequence: number,
  frameCount: number,
  finalLength: number,
  threads: number,
) => Result;

type UpdateFunction = (message: number, input: Bytes, output: Bytes) => void;

type PumpCallback = (
  status: number,
  errorNumber: number,
  frameCount: number,
  bytesRead: number,
  bytesWritten: number,
  plaintextLength: number,
) => void;

type SegmentFunction = (
  key: number,
  nonce: Bytes,
  firstBlock: number,
  chunks: Chunks,
  output: Bytes,
  ghash: Bytes,
  threads: number,
) => void;

/** One implementation inside the addon. */
export interface NativeKernel {
  readonly name: string;
  /** The CPU can run it and its known answers were right. */
  readonly works: boolean;
  /** Taken when no kernel is named, if it is the first of those that work. */
  readonly preferred: boolean;
  /** It can work on parts of one message. */
  readonly segments: boolean;
  /** Why it works or not. */
  readonly reason: string;
}

/**
 * Makes the engine on the native addon, with its best kernel or the one named.
 * @throws FramesealError ENGINE_UNAVAILABLE if the addon does not load or has no such kernel that works here.
 */
export function createNativeEngine(kernel?: string): Engine {
  const addon = loadAddon();
  const kernels = addon.kernels();
  const index = kernels.findIndex(
    ({ name, works, preferred }) => works && (kernel === undefined ? preferred : name === kernel),
  );
  const chosen = kernels[index];
  if (chosen === undefined) {
    const list = kernels.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
    throw new FramesealError(
      "ENGINE_UNAVAILABLE",
      `native engine has no kernel ${kernel ?? ""} for this CPU (${list})`,
    );
  }
  return {
    name: "native",
    kernel: chosen.name,
    createKey(rawKey) {
      checkBytes("key", rawKey);
      // The kernels know AES-256 alone; the old suites with shorter keys are too rare to be worth more.
      return rawKey.length === 32
        ? new NativeKey(addon, rawKey, index, chosen)
        : nodeEngine.createKey(rawKey);
    },
    recycle(result) {
      checkBytes("result", result);
      if (!(result.buffer instanceof SharedArrayBuffer)) addon.recycle(result);
    },
    startHash: (bits) => startNativeHash(addon, bits),
  };
}

/** The kernels inside the addon, best first; none when it does not load. */
export function nativeKernels(): readonly NativeKernel[] {
  try {
    return loadAddon().kernels();
  } catch {
    return [];
  }
}

/** Instruction-set extensions that the addon found; none when it does not load. */
export function nativeCpuFeatures(): readonly string[] {
  return loaded?.cpuFeatures() ?? [];
}

/** The directory that holds `build/Release` or `prebuilds`: two above `src/engine`, `dist/engine` and `dist/joined`. */
const packageRoot = fileURLToPath(new URL("../..", import.meta.url));
let loaded: Addon | undefined;

function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    const load: (directory: string) => Addon = createRequire(import.meta.url)("node-gyp-build");
    const addon = load(packageRoot);
    addon.setScratch(scratch);
    loaded = addon;
    return addon;
  } catch (cause) {
    throw new FramesealError("ENGINE_UNAVAILABLE", "native addon did not load", { cause });
  }
}

/** From here on a result is worth asking the system for large pages. */
const HUGE_LENGTH = 16 * 2 ** 20;

function allocate(addon: Addon, length: number): Uint8Array {
  const output = allocateOrdinary(length);
  if (length >= HUGE_LENGTH) addon.adviseHugePages(output);
  return output;
}

/**
 * Nonce, AAD and text of one small message, and its tag. The addon knows its address, so it must never leave this
 * file. One call at a time uses it, start to end.
 */
const SCRATCH_LENGTH = 1_024;
const scratch = new Uint8Array(new ArrayBuffer(SCRATCH_LENGTH));

function fillScratch(nonce: Bytes, aad: Bytes, text: Bytes): number {
  copyToScratch(nonce, 0);
  copyToScratch(aad, NONCE_LENGTH);
  const at = NONCE_LENGTH + aad.length;
  copyToScratch(text, at);
  return at;
}

function copyToScratch(bytes: Bytes, at: number): void {
  const { length } = bytes;
  if (length > 40) {
    scratch.set(bytes, at);
    return;
  }
  for (let i = 0; i < length; i++) scratch[at + i] = bytes[i] ?? 0; // a call of set() costs more
}

/** Wipes keys that their users have forgotten to dispose of. */
const abandonedKeys = new FinalizationRegistry<() => void>((dispose) => dispose());

class NativeKey implements AeadKey {
  readonly #addon: Addon;
  #handle: number;
  /** Does what the kernel cannot. */
  readonly #substitute: AeadKey | undefined;
  #segments: SegmentCipher | undefined;

  constructor(addon: Addon, rawKey: Uint8Array, kernelIndex: number, kernel: NativeKernel) {
    this.#addon = addon;
    const handle = addon.createKey(unshared(rawKey), kernelIndex);
    this.#handle = handle;
    this.#substitute = kernel.segments ? undefined : nodeEngine.createKey(rawKey);
    abandonedKeys.register(this, () => addon.disposeKey(handle), this);
  }
  get segments(): SegmentCipher | undefined {
    this.#segments ??= this.#substitute ? this.#substitute.segments : new NativeSegments(this.#addon, this);
    return this.#segments;
  }
  get hasSegments(): boolean {
    return this.#substitute === undefined;
  }
  /** The number of the key. @throws Error after `dispose`. */
  get handle(): number {
    if (this.#handle === 0) throw new Error("internal error: key has been disposed of");
    return this.#handle;
  }
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("plaintext", plaintext);
    const sealedLength = plaintext.length + TAG_LENGTH;
    if (NONCE_LENGTH + aad.length + sealedLength <= SCRATCH_LENGTH) {
      const at = fillScratch(nonce, aad, plaintext);
      this.#addon.sealSmall(this.handle, aad.length, plaintext.length);
      return scratch.slice(at, at + sealedLength);
    }
    const sealed = allocate(this.#addon, sealedLength);
    this.#addon.seal(this.handle, unshared(nonce), unshared(aad), unshared(plaintext), sealed);
    return sealed;
  }
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | null {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkBytes("sealed", sealed);
    const length = sealed.length - TAG_LENGTH;
    if (length < 0) return null;
    if (NONCE_LENGTH + aad.length + sealed.length <= SCRATCH_LENGTH) {
      const at = fillScratch(nonce, aad, sealed);
      if (!this.#addon.openSmall(this.handle, aad.length, sealed.length)) return null;
      const plaintext = scratch.slice(at, at + length);
      scratch.fill(0, at, at + length);
      return plaintext;
    }
    const plaintext = allocate(this.#addon, length);
    const isAuthentic = this.#addon.open(
      this.handle,
      unshared(nonce),
      unshared(aad),
      unshared(sealed),
      plaintext,
    );
    return isAuthentic ? plaintext : null;
  }
  frameCipher(format: FrameFormat, threads = 1): FrameCipher {
    checkFrameFormat(format);
    return new NativeFrameCipher(this.#addon, this, format, threads);
  }
  startSeal(nonce: Uint8Array, aad: Uint8Array): GcmSealer {
    return new NativeGcmSealer(new NativeMessage(this.#addon, this, nonce, aad));
  }
  startOpen(nonce: Uint8Array, aad: Uint8Array): GcmOpener {
    return new NativeGcmOpener(new NativeMessage(this.#addon, this, nonce, aad));
  }
  dispose(): void {
    if (this.#handle === 0) return;
    abandonedKeys.unregister(this);
    this.#addon.disposeKey(this.#handle); // the addon keeps the key until work in progress is done
    this.#handle = 0;
    this.#substitute?.dispose();
  }
}

class NativeFrameCipher implements FrameCipher {
  readonly #addon: Addon;
  readonly #key: NativeKey;
  readonly #frameLength: number;
  readonly #format: Uint8Array;
  readonly #threads: number;
  readonly startOpen: FrameCipher["startOpen"];

  constructor(addon: Addon, key: NativeKey, format: FrameFormat, threads: number) {
    this.#addon = addon;
    this.#key = key;
    this.#threads = threads;
    this.#frameLength = format.frameLength;
    this.#format = encodeFormat(format);
    const { frameLength, regularAadPrefix } = format;
    const prefix = Uint8Array.from(regularAadPrefix);
    if (key.hasSegments)
      this.startOpen = (sequence, nonce) =>
        new NativeFrameOpener(
          addon,
          key,
          threads,
          nonce,
          regularAad(prefix, sequence, frameLength),
          frameLength,
        );
  }
  seal(
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
    headroom: number,
  ): Uint8Array {
    const { sealedLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(this.#addon, headroom + sealedLength);
    output.fill(0, 0, headroom);
    const sealed = headroom === 0 ? output : output.subarray(headroom);
    this.sealInto(sealed, chunks, firstSequence, frameCount, finalLength);
    return output;
  }
  sealInto(
    output: Uint8Array,
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): number {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkOutput(output, lengths.sealedLength);
    const own = ownChunks(chunks, lengths.plaintextLength);
    this.#run(this.#addon.sealFrames, output, own, firstSequence, frameCount, finalLength);
    return lengths.sealedLength;
  }
  open(chunks: Chunks, firstSequence: number, frameCount: number, finalLength: number): OpenedFrames {
    const { plaintextLength } = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    const output = allocate(this.#addon, plaintextLength);
    const { verifiedCount } = this.openInto(output, chunks, firstSequence, frameCount, finalLength);
    return this.#opened(output, verifiedCount, frameCount, finalLength);
  }
  openInto(
    output: Uint8Array,
    chunks: Chunks,
    firstSequence: number,
    frameCount: number,
    finalLength: number,
  ): OpenedInto {
    const lengths = runLengths(this.#frameLength, firstSequence, frameCount, finalLength);
    checkOutput(output, lengths.plaintextLength);
    const own = ownChunks(chunks, lengths.sealedLength);
    const { openFrames } = this.#addon;
    const verifiedCount = this.#run(openFrames, output, own, firstSequence, frameCount, finalLength);
    return { plaintextLength: this.#plaintextLength(verifiedCount, frameCount, finalLength), verifiedCount };
  }
  #run<Result>(
    work: RunFunction<Result>,
    output: Bytes,
    chunks: Chunks,
    ...numbers: [firstSequence: number, frameCount: number, finalLength: number]
  ): Result {
    return work(this.#key.handle, this.#format, chunks, output, ...numbers, this.#threads);
  }
  get startPump(): ((direction: "seal" | "open", ends: PumpEnds) => Pump) | undefined {
    const { startPump } = this.#addon;
    if (startPump === undefined) return undefined;
    return (direction, ends) =>
      new NativePump(this.#addon, startPump, this.#key, this.#format, direction, ends);
  }
  #plaintextLength(verifiedCount: number, frameCount: number, finalLength: number): number {
    const regular = Math.min(verifiedCount, frameCount) * this.#frameLength;
    return verifiedCount > frameCount && finalLength !== NO_FINAL_FRAME ? regular + finalLength : regular;
  }
  /** The verified prefix alone: the addon has zeroed the rest. */
  #opened(output: Uint8Array, verifiedCount: number, frameCount: number, finalLength: number): OpenedFrames {
    const length = this.#plaintextLength(verifiedCount, frameCount, finalLength);
    if (length === output.length) return { plaintext: output, verifiedCount };
    const plaintext = output.slice(0, length);
    output.fill(0);
    return { plaintext, verifiedCount };
  }
}

/** In the order of the numbers that the addon gives. */
const pumpStatuses: readonly PumpStatus[] = [
  "done",
  "cancelled",
  "not authentic",
  "truncated",
  "trailing data",
  "too long",
  "too many frames",
  "read failed",
  "write failed",
];

class NativePump implements Pump {
  readonly done: Promise<PumpResult>;
  readonly #addon: Addon;
  #handle = 0;

  constructor(
    addon: Addon,
    start: NonNullable<Addon["startPump"]>,
    key: NativeKey,
    format: Uint8Array,
    direction: "seal" | "open",
    ends: PumpEnds,
  ) {
    this.#addon = addon;
    const { input, output, inputAt, outputAt, reservedLength, maxFrameCount, threads } = ends;
    const maxLength = Math.min(ends.maxPlaintextLength, Number.MAX_SAFE_INTEGER);
    const numbers = Float64Array.of(
      direction === "seal" ? 0 : 1,
      input,
      output,
      inputAt,
      outputAt,
      reservedLength,
      maxLength,
      maxFrameCount,
      threads,
    );
    this.done = new Promise((resolve) => {
      const onDone: PumpCallback = (
        status,
        errorNumber,
        frameCount,
        bytesRead,
        bytesWritten,
        plaintextLength,
      ) => {
        this.#handle = 0;
        resolve({
          status: pumpStatuses[status] ?? "cancelled",
          errorNumber,
          frameCount,
          bytesRead,
          bytesWritten,
          plaintextLength,
        });
      };
      this.#handle = start(key.handle, format, unshared(ends.head), new Uint8Array(numbers.buffer), onDone);
    });
  }
  bytesRead(): number {
    return this.#addon.pumpReadLength?.(this.#handle) ?? 0;
  }
  cancel(): void {
    this.#addon.cancelPump?.(this.#handle);
  }
}

/** Prefix ‖ sequence number u32 ‖ length u64. */
function regularAad(prefix: Uint8Array, sequence: number, frameLength: number): Uint8Array {
  const aad = Buffer.alloc(prefix.length + 12);
  aad.set(prefix);
  aad.writeUInt32BE(sequence, prefix.length);
  aad.writeUInt32BE(frameLength, prefix.length + 8);
  return aad;
}

class NativeFrameOpener implements FrameOpener {
  readonly #segments: NativeSegments;
  readonly #nonce: Uint8Array;
  readonly #aad: Uint8Array;
  readonly #plaintext: Uint8Array;
  readonly #partials: SegmentPartial[] = [];
  #length = 0;

  constructor(
    addon: Addon,
    key: NativeKey,
    threads: number,
    nonce: Uint8Array,
    aad: Uint8Array,
    frameLength: number,
  ) {
    this.#segments = new NativeSegments(addon, key, threads);
    this.#nonce = Uint8Array.from(nonce);
    this.#aad = aad;
    this.#plaintext = allocate(addon, frameLength);
  }
  get missing(): number {
    return this.#plaintext.length - this.#length;
  }
  update(chunks: Chunks): void {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (length > this.missing) throw new Error("internal error: frame is shorter than its pieces");
    const output = this.#plaintext.subarray(this.#length, this.#length + length);
    this.#partials.push(this.#segments.openInto(output, this.#nonce, this.#length / 16, chunks));
    this.#length += length;
  }
  finish(tag: Uint8Array): Uint8Array | null {
    if (this.missing > 0) throw new Error("internal error: frame is longer than its pieces");
    const computed = this.#segments.finish(this.#nonce, this.#aad, this.#partials);
    const isAuthentic = equalConstantTime(computed, tag);
    computed.fill(0);
    for (const { ghash } of this.#partials) ghash.fill(0);
    if (isAuthentic) return this.#plaintext;
    this.dispose();
    return null;
  }
  dispose(): void {
    for (const { ghash } of this.#partials) ghash.fill(0);
    this.#plaintext.fill(0, 0, this.#length);
  }
}

/** Frame length u32 ‖ lengths of the two prefixes, u16 each ‖ both prefixes. */
function encodeFormat({ frameLength, regularAadPrefix, finalAadPrefix }: FrameFormat): Uint8Array {
  const bytes = Buffer.alloc(8 + regularAadPrefix.length + finalAadPrefix.length);
  bytes.writeUInt32BE(frameLength, 0);
  bytes.writeUInt16BE(regularAadPrefix.length, 4);
  bytes.writeUInt16BE(finalAadPrefix.length, 6);
  bytes.set(regularAadPrefix, 8);
  bytes.set(finalAadPrefix, 8 + regularAadPrefix.length);
  return bytes;
}

/** Checks chunks; the array is ours and no chunk is in shared memory, so that nothing changes under the addon. */
function ownChunks(chunks: Chunks, length: number): Uint8Array[] {
  checkChunks(chunks, length);
  return chunks.map(unshared);
}

/** One message in progress inside the addon. */
class NativeMessage {
  readonly addon: Addon;
  #handle: number;
  #length = 0;

  constructor(addon: Addon, key: NativeKey, nonce: Uint8Array, aad: Uint8Array) {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    this.addon = addon;
    const handle = addon.startMessage(key.handle, unshared(nonce), unshared(aad));
    this.#handle = handle;
    abandonedKeys.register(this, () => addon.dropMessage(handle), this);
  }
  get handle(): number {
    if (this.#handle === 0) throw new Error("internal error: message has been finished");
    return this.#handle;
  }
  /** Seals or opens the next bytes of the message. */
  update(work: UpdateFunction, name: string, input: Uint8Array): Uint8Array {
    checkBytes(name, input);
    const { handle } = this;
    this.#length = addLength(this.#length, input.length);
    const output = allocate(this.addon, input.length);
    work(handle, unshared(input), output);
    return output;
  }
  /** Returns the handle for the last call with it. */
  end(): number {
    const handle = this.handle;
    abandonedKeys.unregister(this);
    this.#handle = 0;
    return handle;
  }
}

class NativeGcmSealer implements GcmSealer {
  readonly #message: NativeMessage;

  constructor(message: NativeMessage) {
    this.#message = message;
  }
  update(plaintext: Uint8Array): Uint8Array {
    return this.#message.update(this.#message.addon.sealUpdate, "plaintext", plaintext);
  }
  final(): Uint8Array {
    const tag = new Uint8Array(TAG_LENGTH);
    this.#message.addon.finishSeal(this.#message.end(), tag);
    return tag;
  }
}

class NativeGcmOpener implements GcmOpener {
  readonly #message: NativeMessage;

  constructor(message: NativeMessage) {
    this.#message = message;
  }
  update(ciphertext: Uint8Array): Uint8Array {
    return this.#message.update(this.#message.addon.openUpdate, "ciphertext", ciphertext);
  }
  final(tag: Uint8Array): boolean {
    checkLength("tag", tag, TAG_LENGTH);
    return this.#message.addon.finishOpen(this.#message.end(), unshared(tag));
  }
}

class NativeSegments implements SegmentCipher {
  readonly #addon: Addon;
  readonly #key: NativeKey;
  readonly #threads: number;

  constructor(addon: Addon, key: NativeKey, threads = availableParallelism()) {
    this.#addon = addon;
    this.#key = key;
    this.#threads = threads;
  }
  seal(nonce: Uint8Array, firstBlock: number, chunks: Chunks): SealedSegment {
    const ciphertext = allocate(this.#addon, checkSegment(firstBlock, chunks));
    const partial = this.#run(this.#addon.sealSegment, ciphertext, nonce, firstBlock, chunks);
    return { ciphertext, partial };
  }
  open(nonce: Uint8Array, firstBlock: number, chunks: Chunks): OpenedSegment {
    const plaintext = allocate(this.#addon, checkSegment(firstBlock, chunks));
    return { plaintext, partial: this.openInto(plaintext, nonce, firstBlock, chunks) };
  }
  /** As `open`, into memory of the same length that no chunk overlaps. */
  openInto(output: Uint8Array, nonce: Uint8Array, firstBlock: number, chunks: Chunks): SegmentPartial {
    return this.#run(this.#addon.openSegment, output, nonce, firstBlock, chunks);
  }
  finish(nonce: Uint8Array, aad: Uint8Array, partials: readonly SegmentPartial[]): Uint8Array {
    checkLength("nonce", nonce, NONCE_LENGTH);
    checkBytes("aad", aad);
    checkPartials(partials);
    const hashes = new Uint8Array(TAG_LENGTH * partials.length);
    for (const [i, { ghash }] of partials.entries()) hashes.set(ghash, TAG_LENGTH * i);
    const lengths = new Uint8Array(Float64Array.from(partials, ({ length }) => length).buffer);
    const tag = new Uint8Array(TAG_LENGTH);
    this.#addon.finishSegments(this.#key.handle, unshared(nonce), unshared(aad), hashes, lengths, tag);
    hashes.fill(0);
    return tag;
  }
  #run(
    work: SegmentFunction,
    output: Uint8Array,
    nonce: Uint8Array,
    firstBlock: number,
    chunks: Chunks,
  ): SegmentPartial {
    checkLength("nonce", nonce, NONCE_LENGTH);
    const length = checkSegment(firstBlock, chunks);
    const ghash = new Uint8Array(TAG_LENGTH);
    const own = chunks.map(unshared);
    work(this.#key.handle, unshared(nonce), firstBlock, own, output, ghash, this.#threads);
    return { ghash, length };
  }
}
