// Rows of how objects of a tree are named.
import { rmSync } from "node:fs";
import path from "node:path";
import {
  done,
  failed,
  type Kind,
  type Place,
  type Row,
  row,
  treeLine,
  untrusted,
} from "../../support/option-rows.ts";

const readers = ["get", "verify", "ls"];
const rotating = ["rewrap", "reencrypt"];

/** Nothing is remembered of the rows before. */
const fresh = {
  before: ({ folder }: Place): void => rmSync(path.join(folder, "state"), { recursive: true, force: true }),
};
const lineWith =
  (more: string) =>
  (command: string): string =>
    command === "ls" || command === "rm"
      ? treeLine(command, { more: `${command === "ls" ? "-r " : ""}-k a.jwk ${more}` })
      : treeLine(command, { more });

export const rows: readonly Row[] = [
  row(["put", "sync"], "--encrypt-names tree", undefined, {
    ...fresh,
    line: lineWith(""),
    hides: /^stored new\/a\.txt /m,
  }),
  row(readers, "--encrypt-names flat", untrusted, { ...fresh, line: lineWith("") }),
  row(["rm"], "--encrypt-names flat", untrusted, { ...fresh, line: lineWith("--exclude a.txt") }),
  row(rotating, "--encrypt-names flat", done, { ...fresh, line: lineWith("--names-key a.jwk") }),
  // No key of RSA hides names, and nothing else asks for this file.
  row(["put", "sync", ...readers, "rm"], "--names-key rsa.pub", failed, {
    ...fresh,
    line: lineWith("--encrypt-names tree"),
  }),
  row(rotating, "--names-key a.jwk", done, { ...fresh, line: lineWith("--encrypt-names tree") }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  words: { of: ["--encrypt-names"] },
  free: { of: ["--names-key"] },
};
