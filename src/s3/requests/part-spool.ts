// A part of an upload that is too long for memory: its stored bytes wait in a temporary file, from which they can be sent
// again. The file has no name any more once it is open, so nobody else finds it and no crash leaves it behind; it holds
// ciphertext alone.
import { createHash, type Hash, randomUUID } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type * as S3 from "@aws-sdk/client-s3";
import { readSome, writeFully } from "../../disk/calls.ts";
import { FramesealError } from "../../errors.ts";
import { errorCode } from "../../shapes.ts";
import type { Stop } from "../stop.ts";
import { isTransient } from "../transient-error.ts";

/** The body of a part that is read while it is sent, and can be read again. */
export interface PartSource {
  readonly length: number;
  /**
   * Sends the part, again when that failed in a way that may pass: the SDK does not, when a body is a stream.
   * @param upload sends one attempt with these fields of UploadPart
   */
  send(
    upload: (fields: PartFields) => Promise<S3.UploadPartCommandOutput>,
    stop: Stop,
  ): Promise<S3.UploadPartCommandOutput>;
}

/** The fields of UploadPart that belong to its body. */
export type PartFields = Pick<
  S3.UploadPartCommandInput,
  "Body" | "ChecksumCRC32" | "ChecksumSHA1" | "ChecksumSHA256"
>;

/** Attempts to send a part, and the longest pause after the first, which doubles. */
const ATTEMPTS = 5;
const PAUSE_MS = 200;
/** Bytes that are read at a time. */
const READ_LENGTH = 256 * 1024;

/** One part on disk. */
export class PartSpool implements PartSource {
  readonly #file: FileHandle;
  /** Where the file still has its name, on systems that do not take it away while it is open. */
  readonly #name: string | undefined;
  readonly #checksum: RunningChecksum | undefined;
  #length = 0;
  #closed = false;

  private constructor(file: FileHandle, name: string | undefined, checksum: RunningChecksum | undefined) {
    this.#file = file;
    this.#name = name;
    this.#checksum = checksum;
  }

  /**
   * @param folder where the file lies
   * @param algorithm of the checksum that goes with the part, if one does
   * @throws Error of the system, which tells the folder
   */
  static async create(folder: string, algorithm: S3.ChecksumAlgorithm | undefined): Promise<PartSpool> {
    const name = path.join(folder, `frameseal-part-${randomUUID()}`);
    const file = await open(name, "wx+", 0o600).catch((cause) => {
      throw spoolFailure(cause, folder);
    });
    const remaining = await unlink(name).then(
      () => undefined,
      () => name,
    );
    return new PartSpool(file, remaining, startChecksum(algorithm));
  }

  get length(): number {
    return this.#length;
  }

  /** Adds bytes, which are not used after the promise has settled. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#checksum?.update(bytes);
    await writeFully(this.#file, bytes, this.#length).catch((cause) => {
      throw spoolFailure(cause, undefined);
    });
    this.#length += bytes.length;
  }

  async send(
    upload: (fields: PartFields) => Promise<S3.UploadPartCommandOutput>,
    stop: Stop,
  ): Promise<S3.UploadPartCommandOutput> {
    const checksum = this.#checksum?.fields() ?? {};
    for (let attempt = 1; ; attempt++) {
      const Body = this.#read();
      try {
        return await upload({ Body, ...checksum });
      } catch (error) {
        if (attempt === ATTEMPTS || stop.stopped !== undefined || !isTransient(error)) throw error;
      } finally {
        Body.destroy();
      }
      await stop.race(pause(Math.random() * PAUSE_MS * 2 ** (attempt - 1)));
    }
  }

  // A stream of its own for each attempt.
  #read(): Readable {
    let at = 0;
    const stream = new Readable({
      highWaterMark: READ_LENGTH,
      read: () => {
        const length = Math.min(READ_LENGTH, this.#length - at);
        if (length === 0) return void stream.push(null);
        const buffer = Buffer.allocUnsafe(length);
        readSome(this.#file, buffer, at).then(
          (count) => {
            if (count === 0)
              return void stream.destroy(new Error("internal error: spooled part got shorter"));
            at += count;
            stream.push(buffer.subarray(0, count));
          },
          (error) => stream.destroy(error),
        );
      },
    });
    // Whoever reads it hears of its errors too; nobody may be left when the operation has stopped.
    stream.on("error", () => {});
    return stream;
  }

  /** Gives the disk space back. Safe to call more than once. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close().catch(() => {}); // nobody needs its bytes any more
    if (this.#name !== undefined) await unlink(this.#name).catch(() => {});
  }
}

/** A checksum over bytes as they come, as the fields of UploadPart want it. */
interface RunningChecksum {
  update(bytes: Uint8Array): void;
  fields(): Omit<PartFields, "Body">;
}

// Others are left to the SDK, which sends them behind the body.
function startChecksum(algorithm: S3.ChecksumAlgorithm | undefined): RunningChecksum | undefined {
  switch (algorithm) {
    case "CRC32": {
      let value = 0;
      return {
        update: (bytes) => {
          value = crc32(bytes, value);
        },
        fields: () => {
          const bytes = Buffer.alloc(4);
          bytes.writeUInt32BE(value);
          return { ChecksumCRC32: bytes.toString("base64") };
        },
      };
    }
    case "SHA1":
      return hashing(createHash("sha1"), (ChecksumSHA1) => ({ ChecksumSHA1 }));
    case "SHA256":
      return hashing(createHash("sha256"), (ChecksumSHA256) => ({ ChecksumSHA256 }));
    default:
      return undefined;
  }
}

function hashing(hash: Hash, fieldsOf: (value: string) => Omit<PartFields, "Body">): RunningChecksum {
  let fields: Omit<PartFields, "Body"> | undefined;
  return {
    update: (bytes) => void hash.update(bytes),
    fields: () => {
      fields ??= fieldsOf(hash.digest("base64"));
      return fields;
    },
  };
}

function spoolFailure(cause: unknown, folder: string | undefined): FramesealError {
  const where = folder === undefined ? "" : ` in ${folder}`;
  const full = ["ENOSPC", "EDQUOT"].includes(errorCode(cause) ?? "");
  const text = full ? "the disk is full" : `${errorCode(cause) ?? "the system refused it"}`;
  return new FramesealError(
    "LIMIT_EXCEEDED",
    `a part that is longer than "memory" allows needs a temporary file${where}, but ${text}: ` +
      'raise "memory", give "expectedSize" or another "spoolFolder"',
    { cause },
  );
}
