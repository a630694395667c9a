// --encrypt-names and --names-key: how the objects of a tree are named. The key comes from a file, never from the command
// line.
import type { Command } from "commander";
import { createKeyNames, type NameMode } from "../../backup/names/encrypted-names.ts";
import { namesBelow } from "../../backup/names/key-length.ts";
import type { KeyNames } from "../../backup/names/key-names.ts";
import { plainNames } from "../../backup/names/plain-names.ts";
import { wipe } from "../../bytes.ts";
import { CommandFailure, UsageError } from "../failure.ts";
import { interruptSignal } from "../interrupt.ts";
import { shown } from "../names.ts";
import { type KeyOptions, ofKeyFile, refuseKey } from "../options.ts";
import { note } from "../output.ts";
import { oneOf } from "../values.ts";

/** What `addNameOptions` adds. */
export interface NameOptions {
  readonly encryptNames?: string;
  readonly namesKey?: string;
}

/** Adds the options of names. */
export function addNameOptions(command: Command): Command {
  return command
    .optionsGroup("Names:")
    .option(
      "--encrypt-names <tree|flat>",
      "hide the names of files: keep the folders, or hide them too",
      oneOf("tree", "flat"),
    )
    .option(
      "--names-key <file>",
      "AES key file that hides names (default: the one of --key); keep it when --key changes",
    );
}

/**
 * How entries below `prefix` are named.
 * @throws UsageError when names shall be hidden and no key is for that; CommandFailure for a key that cannot
 */
export async function namesFrom(
  options: NameOptions & Pick<KeyOptions, "key" | "kms" | "kmsDiscovery">,
  prefix: string,
): Promise<KeyNames> {
  const { encryptNames, namesKey } = options;
  if (encryptNames === undefined) {
    if (namesKey !== undefined) throw new UsageError("--names-key goes with --encrypt-names");
    return namesBelow(prefix, plainNames);
  }
  const key = await (namesKey === undefined ? masterKey(options) : keyOf(namesKey));
  try {
    return namesBelow(prefix, createKeyNames(encryptNames as NameMode, key));
  } finally {
    wipe(key);
  }
}

function keyOf(file: string): Promise<Uint8Array> {
  refuseKey("--names-key", file);
  return read(file, note);
}

/** What makes --names-key needed. */
const GIVE = "give --names-key FILE, an AES key file of 256 bits (frameseal keygen makes one)";

// The one file of --key, which says itself when others can read it.
async function masterKey({
  key = [],
  kms,
  kmsDiscovery,
}: Pick<KeyOptions, "key" | "kms" | "kmsDiscovery">): Promise<Uint8Array> {
  const [file] = key;
  if (file === undefined || key.length > 1 || kms !== undefined || kmsDiscovery !== undefined)
    throw new UsageError(`--encrypt-names takes the key of one --key file: ${GIVE}`);
  refuseKey("--key", file);
  const { stat } = await import("node:fs/promises");
  // What is read once, for --key, is not there a second time.
  if (!(await stat(file)).isFile())
    throw new UsageError(`--encrypt-names cannot read ${shown(file)} a second time: ${GIVE}`);
  return read(file);
}

async function read(file: string, onWarning?: (warning: string) => void): Promise<Uint8Array> {
  const { readAesKeyFile } = await import("../../keyring/key-file.ts");
  const key = await ofKeyFile(file, readAesKeyFile(file, { onWarning, signal: interruptSignal })).catch(
    (error: unknown) => {
      throw error instanceof CommandFailure
        ? new CommandFailure(`${error.message}; to encrypt names, ${GIVE}`)
        : error;
    },
  );
  if (key.length === 32) return key;
  const { length } = key;
  wipe(key);
  throw new CommandFailure(
    `key file ${shown(file)}: expected an AES key of 32 bytes, got ${length}; ${GIVE}`,
  );
}
