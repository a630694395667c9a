// What the rows of options are made of: a row says which option, of which commands, and what can be seen with it and not
// without it. The rows are in test/cli/option-rows/, a file for each group of options.
import { writeFileSync } from "node:fs";
import type { S3Server } from "./s3-server.ts";

/** What a row can prepare. The folder is the working directory. */
export interface Place {
  readonly server: S3Server;
  readonly folder: string;
}

export interface Row {
  /** Commands of which this is said. */
  readonly of: readonly string[];
  readonly option: string;
  /** The command line without the option. */
  readonly line: (command: string) => string;
  /** What is added to it; by default nothing but the option. */
  readonly given: string;
  /** Seen with the option, and not without it. */
  readonly shows?: RegExp;
  /** Seen without the option, and not with it. */
  readonly hides?: RegExp;
  /** Run afterwards, and seen too. */
  readonly after?: string;
  readonly before?: (place: Place) => void | Promise<void>;
  readonly terminal?: true;
  /** In a process of its own, since it writes to standard output. */
  readonly child?: true;
}

/** A kind of value that options take, and what is none. Groups that name the same kind add to it. */
export interface Kind {
  /** The options that take it. */
  readonly of: readonly string[];
  /** What can be typed and is no value. */
  readonly junk?: readonly string[];
  /** What the refusal says besides the name of the option. */
  readonly says?: RegExp;
}

/** What a file of test/cli/option-rows/ exports. */
export interface OptionGroup {
  readonly rows?: readonly Row[];
  readonly kinds?: Readonly<Record<string, Kind>>;
}

export const files = ["encrypt", "decrypt"];
export const messages = [...files, "verify", "put", "get", "cat"];
export const readers = ["decrypt", "verify", "get", "cat"];
export const writers = ["encrypt", "put"];
export const objects = ["put", "get", "cat", "verify", "inspect", "rewrap"];
export const objectReaders = ["get", "cat", "verify"];
export const reporting = messages.filter((name) => name !== "cat");
export const aws = [...messages, "inspect", "rewrap", "ls", "rm", "uploads", "policy"];

/** A line that works, of which rows change the key and what is read. */
export function line(command: string, { key = "-k a.jwk", of = "framed", more = "" } = {}): string {
  const sealed = of === "framed" ? "sealed" : `sealed.${of}`;
  const lines: Readonly<Record<string, string>> = {
    encrypt: `encrypt ${key} ${more} plain -o out`,
    decrypt: `decrypt ${key} ${more} ${sealed} -o out`,
    put: `put ${key} ${more} plain s3://bucket/new --endpoint {s3}`,
    get: `get ${key} ${more} s3://bucket/${of} out --endpoint {s3}`,
    cat: `cat ${key} ${more} s3://bucket/${of} --endpoint {s3}`,
    verify: `verify ${key} ${more} s3://bucket/${of} --endpoint {s3}`,
    inspect: `inspect ${more} s3://bucket/${of} --endpoint {s3}`,
    rewrap: `rewrap --from a.jwk --to b.jwk ${more} s3://bucket/${of} --endpoint {s3}`,
    policy: `policy bucket --show ${more} --endpoint {s3}`,
    sync: `sync ${key} ${more} tree s3://bucket/new/ --endpoint {s3}`,
    ls: `ls ${more} s3://bucket/tree/ --endpoint {s3}`,
    rm: `rm -r ${more} s3://bucket/tree/ --endpoint {s3}`,
    uploads: `uploads ${more} s3://bucket/ --endpoint {s3}`,
    reencrypt: `reencrypt -r --from a.jwk --to b.jwk ${more} s3://bucket/tree/ --endpoint {s3}`,
  };
  return lines[command] ?? `${command} ${more}`;
}
export const plainLine = (command: string): string => line(command);
export const lineWith =
  (how: { key?: string; of?: string; more?: string }) =>
  (command: string): string =>
    line(command, how);
export const loosely = "--commitment-policy REQUIRE_ENCRYPT_ALLOW_DECRYPT";
export const forbid = "--commitment-policy FORBID_ENCRYPT_ALLOW_DECRYPT";

/** One row for each option of a group of commands: option and value, what shows it, and how the line differs. */
export const row = (
  of: readonly string[],
  given: string,
  shows: RegExp | undefined,
  more: Partial<Omit<Row, "of" | "given">> = {},
): Row => ({
  of,
  option: /^-\S+/.exec(given)?.[0] ?? "",
  line: plainLine,
  given,
  ...(shows === undefined ? {} : { shows }),
  ...more,
});

export const failed = /^exit 1\n/;
export const done = /^exit 0\n/;
export const untrusted = /^exit 3\n/;
/** Something stands where the output goes. */
export const existing = { before: () => writeFileSync("out", "older") };
export const single = { of: "single" };
export const wrapped = { key: "-k wrapped.jwk", of: "wrapped", more: loosely };
export const unauthentic = {
  key: "-k unauthentic.jwk",
  of: "unauthentic",
  more: `${loosely} --enable-legacy-wrapping-algorithms`,
};
export const piped = "put -k a.jwk --from-command {pipe} s3://bucket/new --endpoint {s3}";

/** The same for trees: a folder `tree`, and what of it is stored below s3://bucket/tree/. */
export function treeLine(command: string, { key = "-k a.jwk", more = "" } = {}): string {
  const lines: Readonly<Record<string, string>> = {
    put: `put -r ${key} ${more} tree s3://bucket/new/ --endpoint {s3}`,
    get: `get -r ${key} ${more} s3://bucket/tree/ out --endpoint {s3}`,
    verify: `verify -r ${key} ${more} s3://bucket/tree/ --endpoint {s3}`,
    rewrap: `rewrap -r --from a.jwk --to b.jwk ${more} s3://bucket/tree/ --endpoint {s3}`,
  };
  return lines[command] ?? line(command, { key, more });
}
export const ofTrees =
  (how: { key?: string; more?: string } = {}) =>
  (command: string): string =>
    treeLine(command, how);

// For files, AWS is asked only for its keys.
export function withKms(command: string): string {
  return files.includes(command)
    ? `${line(command, { key: "--kms {kmsKey}", of: "kms" })} --endpoint {kms}`
    : line(command);
}
