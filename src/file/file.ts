// File to file. Where the engine has a pump, and the system has threads for it, those do all of it; elsewhere `runs.ts`,
// which is loaded only then.
import type { BigIntStats } from "node:fs";
import { type Checks, callback, checkOptions, signal } from "../check-options.ts";
import type { Durability } from "../disk/new-file.ts";
import { throwIfAborted } from "../errors.ts";
import {
  HEADER_LIMITS,
  type HeaderLimits,
  HeaderParser,
  type MessageHeader,
  truncatedHeader,
} from "../format/header.ts";
import { MAX_FRAME_COUNT_READ } from "../format/limits.ts";
import { plaintextTooLong, tooManyFramesRead } from "../message/frame-walk.ts";
import { MessageSealer } from "../message/message-sealer.ts";
import { DECRYPT_OPTIONS, type DecryptOptions, openHeader, publicHeader } from "../message/open-message.ts";
import {
  checkEncryptOptions,
  ENCRYPT_OPTIONS,
  type EncryptOptions,
  prepareFrames,
  threadCount,
} from "../message/seal-message.ts";
import { INPUT_OPTIONS, Input, type InputOptions } from "./input.ts";
import { Output } from "./output.ts";
import { MAX_RUN_FRAME_LENGTH, pumpEnds, runPump } from "./pump.ts";
import { checkFileEnd, type FileEnd, type FileSource, openFileSource } from "./source.ts";
import { FILE_TARGET_OPTIONS, type FileTargetOptions, type PlannedTarget, planFileTarget } from "./target.ts";

/** What file operations take besides message options. */
export interface FileOptions extends FileTargetOptions, InputOptions {}

/** Options of `encryptFile`. */
export type EncryptFileOptions = EncryptOptions & FileOptions;
/** Options of `decryptFile`. */
export type DecryptFileOptions = DecryptOptions & FileOptions;
/** Options of `verifyFile`. */
export type VerifyFileOptions = DecryptOptions & Pick<FileOptions, "onProgress">;

const FILE_OPTIONS: Checks<FileOptions> = { ...FILE_TARGET_OPTIONS, ...INPUT_OPTIONS };
/** What the options must be. */
const ENCRYPT_FILE_OPTIONS: Checks<EncryptFileOptions> = { ...ENCRYPT_OPTIONS, ...FILE_OPTIONS };
const DECRYPT_FILE_OPTIONS: Checks<DecryptFileOptions> = { ...DECRYPT_OPTIONS, ...FILE_OPTIONS };
const VERIFY_FILE_OPTIONS: Checks<VerifyFileOptions> = { ...DECRYPT_OPTIONS, onProgress: callback };

/** What a file operation did. */
export interface FileResult {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly plaintextLength: number;
  readonly header: MessageHeader;
  /** `synced` when file and folder were on disk; `not-synced` with `sync: "none"`, for what is no file, and where folders cannot be synced. */
  readonly durability: Durability;
}

/** Read at a time until the header is complete. */
const HEAD_LENGTH = 64 * 1024;

/**
 * Encrypts a file into a file that appears under its name only when it is complete.
 *
 * `to` must not exist unless `overwrite` is `replace`; its folder must. It gets mode 0600 unless `mode` says otherwise.
 * Symbolic links are followed in `from` and refused in `to`; `from` and `to` must not be one file, under two names
 * either. Other hard links of a replaced file keep its old contents. Pipes, terminals, devices and descriptors are read
 * to their end and written as they are: there is no name to protect, and after a failure they have a beginning of the
 * message; an abort ends waiting for the other end of a FIFO. The holes of a sparse file are sealed as the zeros they
 * read as. Temporary files are named `.NAME.tmp-XXXXXXXX` and locked while they are written; those of processes that were
 * killed are removed by the next operation on the same name. Where the addon is missing, or the file system may not show
 * a lock to everybody, they are named `.NAME.tmp-XXXXXXXX.keep`, and stay after a kill.
 * @throws Error with the system's code for what the file system refuses: EEXIST, EISDIR, ENOSPC and so on; EBUSY when
 * `from` changed while it was read
 * @throws what `encrypt`, or `onProgress`, throws. Nothing is left behind then, and a file that was to be replaced is as
 * it was.
 * @throws FramesealError NOT_DURABLE when the new file is complete under its name, but something failed after that
 */
export async function encryptFile(
  from: FileEnd,
  to: FileEnd,
  givenOptions: EncryptFileOptions,
): Promise<FileResult> {
  const options = checkEncryptOptions(givenOptions, ENCRYPT_FILE_OPTIONS);
  checkFileEnd("to", to); // without it nothing would be written
  return withEnds(from, to, options, async (input, output) => {
    const plaintextLength = Math.min(options.plaintextLength ?? Infinity, input.size ?? Infinity);
    const bounded = plaintextLength === Infinity ? options : { ...options, plaintextLength };
    const sealer = new MessageSealer(await prepareFrames(bounded));
    try {
      const ends = await pumpEnds(input, output, sealer.canPump, sealer.header);
      const reservedLength = input.size === undefined ? 0 : sealer.messageLength(input.size);
      const threads = threadCount(options.concurrency);
      const pump = ends && sealer.startPump({ ...ends, reservedLength, threads });
      if (pump !== undefined) await runPump(pump, input, output, sealer.limits);
      else {
        const { sealFile } = await import("./runs.ts");
        await sealFile(sealer, input, output, options);
      }
      return { plaintextLength: input.length, header: sealer.header };
    } finally {
      sealer.dispose();
    }
  });
}

/**
 * Decrypts a file into a file that appears under its name only when every byte of the message was verified. Files are
 * treated as `encryptFile` does. Pipes and descriptors get verified frames only, but get them before the end of the
 * message is known: discard what they got when this fails.
 * @throws Error with the system's code, and NOT_DURABLE, as `encryptFile`
 * @throws what `decrypt`, or `onProgress`, throws. Nothing is left behind then.
 */
export async function decryptFile(
  from: FileEnd,
  to: FileEnd,
  givenOptions: DecryptFileOptions,
): Promise<FileResult> {
  const options = checkOptions("options", givenOptions, DECRYPT_FILE_OPTIONS);
  checkFileEnd("to", to);
  return withEnds(from, to, options, (input, output) => openMessageFrom(input, output, options));
}

/**
 * Decrypts a file and writes nothing: resolves when every byte of the message was verified.
 * @throws as `decryptFile`
 */
export async function verifyFile(from: FileEnd, givenOptions: VerifyFileOptions): Promise<FileResult> {
  const options = checkOptions("options", givenOptions, VERIFY_FILE_OPTIONS);
  return withEnds(from, undefined, options, (input, output) => openMessageFrom(input, output, options));
}

type Done = Pick<FileResult, "plaintextLength" | "header">;

// Opens both ends, and sees that each is closed, complete or gone.
async function withEnds(
  from: FileEnd,
  to: FileEnd | undefined,
  options: FileOptions,
  work: (input: Input, output: Output) => Promise<Done>,
): Promise<FileResult> {
  checkFileEnd("from", from);
  throwIfAborted(options.signal);
  const source = await openFileSource(from, options.signal);
  const input = new Input(source, options);
  try {
    const planned = to === undefined ? nowhere : await planFileTarget(to, options);
    refuseSameFile(source, planned.stats);
    const output = new Output(planned, (error) => input.fail(error));
    try {
      const done = await work(input, output);
      await input.settled();
      await source.checkUnchanged();
      throwIfAborted(options.signal);
      const durability = await output.commit();
      return { bytesRead: input.length, bytesWritten: output.length, ...done, durability };
    } catch (error) {
      await output.discard().catch(() => {}); // the failure that led here is the one to report
      throw error;
    }
  } finally {
    await input.close();
  }
}

function refuseSameFile(source: FileSource, target: BigIntStats | undefined): void {
  const { dev, ino } = source.stats;
  if (target?.isFile() && target.dev === dev && target.ino === ino)
    throw new RangeError('"to" expected another file than "from", got the same one');
}

/** What `verifyFile` writes to. */
const nowhere: PlannedTarget = {
  stats: undefined,
  open: async () => ({
    write: async () => {},
    pumpEnd: async () => ({ descriptor: -1, at: -1 }),
    writeError: (error) => error,
    commit: async () => "not-synced",
    discard: async () => {},
  }),
};

async function openMessageFrom(input: Input, output: Output, options: DecryptOptions): Promise<Done> {
  const from = await input.pumpEnd();
  if (from === undefined) return openAny(input, output, options, []);
  const parser = new HeaderParser(options);
  const head: Buffer[] = [];
  let rest = Buffer.alloc(0);
  while (parser.header === undefined) {
    const piece = Buffer.allocUnsafeSlow(Math.min(HEAD_LENGTH, (input.size ?? HEAD_LENGTH) + 1));
    const length = await input.readAhead(from, piece);
    if (length === 0) throw truncatedHeader();
    head.push(piece.subarray(0, length));
    rest = piece.subarray(parser.push(piece.subarray(0, length)), length);
  }
  const { header } = parser;
  const byRuns =
    header.contentType === "framed" &&
    header.suite.signature === "none" &&
    header.frameLength <= MAX_RUN_FRAME_LENGTH;
  if (!byRuns) return openAny(input, output, options, head);
  const opened = await openHeader(header, options);
  try {
    const { cipher } = opened;
    const ends = await pumpEnds(input, output, cipher.startPump !== undefined, header);
    const maxPlaintextLength = options.plaintextLength ?? Infinity;
    const pump =
      ends &&
      cipher.startPump?.("open", {
        ...ends,
        reservedLength: 0,
        head: rest,
        maxPlaintextLength,
        maxFrameCount: MAX_FRAME_COUNT_READ,
        threads: threadCount(options.concurrency),
      });
    if (pump !== undefined) {
      await runPump(pump, input, output, {
        tooLong: () => plaintextTooLong(maxPlaintextLength),
        tooManyFrames: tooManyFramesRead,
      });
      opened.recordUse(output.length);
    } else {
      const { openFile } = await import("./runs.ts");
      await openFile(opened, input, output, options, rest);
    }
    return { plaintextLength: output.length, header: opened.header };
  } finally {
    opened.dispose();
  }
}

async function openAny(
  input: Input,
  output: Output,
  options: DecryptOptions,
  head: readonly Uint8Array[],
): Promise<Done> {
  const { openByMachine } = await import("./runs.ts");
  const header = await openByMachine(input, output, options, head);
  return { plaintextLength: output.length, header };
}

/** Options of `inspectFile`. */
export interface InspectFileOptions extends HeaderLimits {
  readonly signal?: AbortSignal | undefined;
}
const INSPECT_FILE_OPTIONS: Checks<InspectFileOptions> = { ...HEADER_LIMITS, signal };

/** What `inspectFile` tells. */
export interface InspectedFile extends MessageHeader {
  readonly headerLength: number;
  /** Bytes of the whole input, where that is known without reading it. */
  readonly messageLength: number | undefined;
}

/**
 * Reads the header of a message and tells what it says. Nothing of it is verified, and no key is needed.
 * @throws Error with the system's code; what `inspectHeader` throws
 */
export async function inspectFile(
  from: FileEnd,
  givenOptions: InspectFileOptions = {},
): Promise<InspectedFile> {
  const options = checkOptions("options", givenOptions, INSPECT_FILE_OPTIONS);
  checkFileEnd("from", from);
  const source = await openFileSource(from, options.signal);
  const input = new Input(source, options);
  try {
    const parser = new HeaderParser(options);
    for await (const piece of input.pieces()) {
      parser.push(piece);
      if (parser.header !== undefined)
        return {
          ...publicHeader(parser.header),
          headerLength: parser.header.length,
          messageLength: input.size,
        };
    }
    throw truncatedHeader();
  } finally {
    await input.close();
  }
}
