// The log of --log-file: a line of JSON for each record, appended as it comes.
import { closeSync, constants, fsyncSync, openSync } from "node:fs";
import { escapeUnseen } from "../../quote.ts";
import { errorCode } from "../../shapes.ts";
import { writeWhole } from "../write-whole.ts";

/** An open log. Each line is with the system when `append` returns, and on disk after `close`. */
export class LogFile {
  readonly #descriptor: number;

  /** @throws errors of the system that name the file */
  constructor(file: string) {
    // Nobody may read a pipe: opening it would wait for somebody, and so would writing.
    const { O_APPEND, O_CREAT, O_NONBLOCK = 0, O_WRONLY } = constants;
    this.#descriptor = openSync(file, O_APPEND | O_CREAT | O_WRONLY | O_NONBLOCK, 0o600);
  }

  /** @throws errors of the system, such as a full disk */
  append(record: Readonly<Record<string, unknown>>): void {
    const time = new Date().toISOString();
    const bytes = Buffer.from(`${escapeUnseen(JSON.stringify({ time, ...record }))}\n`);
    writeWhole(this.#descriptor, bytes);
  }

  close(): void {
    try {
      fsyncSync(this.#descriptor);
    } catch (error) {
      if (!["EINVAL", "ENOTSUP", "EROFS"].includes(errorCode(error) ?? "")) throw error; // a pipe or a device
    } finally {
      closeSync(this.#descriptor);
    }
  }
}
