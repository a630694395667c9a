// Commands for `sh -c`, and subjects that run them.
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { ProgramSubject } from "../run-programs.ts";
import type { WorkFiles } from "../work-files.ts";

/** Words of a shell command, quoted. */
export const quote = (...words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
/** Our command line. */
export const frameseal = (...args: readonly string[]): string => quote(process.execPath, main, ...args);
export const keyArguments = (files: WorkFiles): readonly string[] => ["--no-progress", "-k", files.key()];

/** A program by the commands that must be on the PATH for it. */
export const program = (
  name: string,
  needs: readonly string[],
  command: () => string,
  more: Partial<ProgramSubject> = {},
): ProgramSubject => ({ name, kind: "program", needs, command, ...more });

export const ourCommand = (command: () => string, more: Partial<ProgramSubject> = {}): ProgramSubject =>
  program("frameseal", [], command, { kind: "frameseal", ...more });
