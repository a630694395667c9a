// How bodies that need more than one request are sent: part lengths, memory and where parts wait that are too long for it.
import { tmpdir } from "node:os";
import { type Checks, text, wholeNumber } from "../../check-options.ts";

/** How large bodies are uploaded. */
export interface UploadSettings {
  /** Plaintext bytes of a part when a body needs more than one; by default 8 MiB. */
  readonly partSize?: number | undefined;
  /** Parts of one body on their way at a time, if `memory` has room for them; by default 4. */
  readonly uploadConcurrency?: number | undefined;
  /**
   * Bytes that the parts of one upload may take, from 16 MiB, by default 64 MiB. When parts are too long for it, fewer are on
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

/** What the settings must be. */
export const UPLOAD_SETTINGS: Checks<UploadSettings> = {
  partSize: wholeNumber(MIN_PART_SIZE, MAX_PART_SIZE),
  uploadConcurrency: wholeNumber(1, 1000),
  memory: wholeNumber(16 * MiB),
  expectedSize: wholeNumber(0, MAX_OBJECT_SIZE),
  spoolFolder: text,
};

/** Settings that were checked, with the defaults. */
export function uploadOptionsFrom(settings: UploadSettings): UploadOptions {
  return {
    partSize: settings.partSize ?? 8 * MiB,
    uploadConcurrency: settings.uploadConcurrency ?? 4,
    memory: settings.memory ?? 64 * MiB,
    expectedSize: settings.expectedSize,
    spoolFolder: settings.spoolFolder ?? tmpdir(),
  };
}
