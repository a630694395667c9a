// The addon: what it offers, how it is loaded, and what every part of the native engine needs of it. The only file that
// loads it, by `#addon` of package.json. It names keys, messages and the like by number, and refuses numbers of none. It
// checks the type of every argument again, and every length before it reads or writes there. Handles in the calls that
// must be quick, and counts of threads, are read without a look at their range: what is no such number is then taken for
// another one, which costs an error or the wrong key, never memory.
import load from "#addon";
import { FramesealError } from "../../errors.ts";
import { allocate as allocateOrdinary } from "../output-memory.ts";
import type { HashAddon } from "./hash.ts";
import { type ScratchAddon, shareScratch } from "./small.ts";

type Bytes = Uint8Array;
type Chunks = readonly Uint8Array[];

/** The functions of the addon; native/*.h says what each does. */
export interface Addon extends HashAddon, ScratchAddon {
  createKey(rawKey: Bytes, kernel: number): number;
  disposeKey(key: number): void;
  seal(key: number, nonce: Bytes, aad: Bytes, plaintext: Bytes, output: Bytes): void;
  open(key: number, nonce: Bytes, aad: Bytes, sealed: Bytes, output: Bytes): boolean;
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
  /** This and the next three are absent on systems that are not POSIX. */
  lockFile?: (descriptor: number) => number;
  startPump?: (key: number, format: Bytes, head: Bytes, numbers: Bytes, onDone: PumpCallback) => number;
  pumpReadLength?: (pump: number) => number;
  cancelPump?: (pump: number) => void;
  adviseHugePages(output: Bytes): void;
  keepFreedMemory(): boolean;
  recycle(result: Bytes): void;
  kernels(): NativeKernel[];
  cpuFeatures(): string[];
}

/** Seals or opens a run of frames. */
export type RunFunction<Result> = (
  key: number,
  format: Bytes,
  chunks: Chunks,
  output: Bytes,
  firstSequence: number,
  frameCount: number,
  finalLength: number,
  threads: number,
) => Result;

/** Seals or opens the next bytes of a message. */
export type UpdateFunction = (message: number, input: Bytes, output: Bytes) => void;

/** Told how a pump ended. */
export type PumpCallback = (
  status: number,
  errorNumber: number,
  frameCount: number,
  bytesRead: number,
  bytesWritten: number,
  plaintextLength: number,
) => void;

/** Seals or opens a part of a message. */
export type SegmentFunction = (
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

let loaded: Addon | undefined;

/** @throws FramesealError ENGINE_UNAVAILABLE */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    const addon = load() as Addon;
    shareScratch(addon);
    loaded = addon;
    return addon;
  } catch (cause) {
    throw new FramesealError("ENGINE_UNAVAILABLE", "native addon did not load", { cause });
  }
}

/** From here on a result is worth asking the system for large pages. */
const HUGE_LENGTH = 16 * 2 ** 20;

/** Memory of its own for a result, with old contents. */
export function allocate(addon: Addon, length: number): Uint8Array {
  const output = allocateOrdinary(length);
  if (length >= HUGE_LENGTH) addon.adviseHugePages(output);
  return output;
}

/** A key inside the addon. */
export interface KeyHandle {
  /** The number of the key. @throws Error after it has been disposed of */
  readonly handle: number;
}

/** Calls what wipes a key or a message that its user has forgotten to dispose of. */
export const abandoned: FinalizationRegistry<() => void> = new FinalizationRegistry((dispose) => dispose());
