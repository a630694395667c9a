// How bodies that need more than one request are sent: part lengths, memory and where parts wait that are too long for it.
import { tmpdir } from "node:os";

/** How large bodies are uploaded. */
export interface UploadSettings {
  /** Plaintext bytes of a part when a body needs more than one; by default 8 MiB. */
  readonly partSize?: number | undefined;
  /** Parts of one body on their way at a time, if `memory` has room for them; by default 4. */
  readonly uploadConcurrency?: number | undefined;
  /**
   * Bytes for all part buffers of one upload, from 16 MiB, by default 64 MiB. When parts are too long for it, fewer are on
   * their way; when it has no room for two, they wait as ciphertext in a temporary file. Raise it with `partSize`.
   */
  readonly memory?: number | undefined;
  /** About how long bodies of unknown length will be: parts are chosen for that, so that none has to be spooled. */
  readonly expectedSize?: number | undefined;
  /** Folder of the temporary files, which have no name once they are open; by default that of the system. */
  readonly spoolFolder?: string | undefined;
}

/** The same, complete. */
export interface UploadOptions {
  readonly partSize: number;
  readonly uploadConcurrency: number;
  readonly memory: number;
  readonly expectedSize: number | undefined;
  readonly spoolFolder: string;
}

const MiB = 2 ** 20;
const GiB = 2 ** 30;
/** S3's limits for a part, and for all of them. */
const MIN_PART_SIZE = 5 * MiB;
const MAX_PART_SIZE = 5 * GiB;
const MAX_OBJECT_SIZE = 10_000 * MAX_PART_SIZE;

/** @throws RangeError, TypeError for settings that are wrong */
export function readUploadSettings(settings: UploadSettings): UploadOptions {
  const { expectedSize, spoolFolder } = settings;
  if (spoolFolder !== undefined && (typeof spoolFolder !== "string" || spoolFolder === ""))
    throw new TypeError(`"spoolFolder" expected the path of a folder, got ${typeof spoolFolder}`);
  return {
    partSize: checkWhole("partSize", settings.partSize ?? 8 * MiB, MIN_PART_SIZE, MAX_PART_SIZE),
    uploadConcurrency: checkWhole("uploadConcurrency", settings.uploadConcurrency ?? 4, 1, 1000),
    // Node's longest buffer in all supported versions is 4 GiB or more.
    memory: checkWhole("memory", settings.memory ?? 64 * MiB, 16 * MiB, 4 * GiB - MiB),
    expectedSize:
      expectedSize === undefined ? undefined : checkWhole("expectedSize", expectedSize, 0, MAX_OBJECT_SIZE),
    spoolFolder: spoolFolder ?? tmpdir(),
  };
}

function checkWhole(name: string, value: number, min: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new RangeError(`"${name}" expected a whole number from ${min} to ${max}, got ${value}`);
  return value;
}
