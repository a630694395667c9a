// frameseal keygen: makes a client-side master key in a file.
import { stat } from "node:fs/promises";
import path from "node:path";
import type { Command } from "commander";
import { CommandFailure, codeOf, UsageError } from "./failure.ts";
import { shown } from "./names.ts";
import { refuseKey } from "./options.ts";
import { note, printJson } from "./output.ts";
import { oneOf } from "./values.ts";

interface KeygenOptions {
  readonly type: string;
  readonly output: string;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("keygen")
    .description("make a key file: an AES-256 key, or an RSA pair FILE and FILE.pub")
    .option("-t, --type <aes|rsa>", "what to make", oneOf("aes", "rsa"), "aes")
    .requiredOption("-o, --output <file>", "file to write, with mode 0600; never overwritten")
    .option("--json", "print the name of the key as JSON")
    .addHelpText(
      "after",
      `
Keep a copy of the key in a safe place: data encrypted under it is lost without it.
The key namespace is frameseal and the key name is the kid of the file (RSA: a hash of the public
key); --key-namespace and --key-name of the other commands override both.

Example:
  frameseal keygen -o backup.key`,
    )
    .action(keygen);
}

async function keygen(options: KeygenOptions): Promise<void> {
  const { output, type } = options;
  if (output === "-") throw new UsageError("a key is not for a terminal or a pipe: give --output FILE");
  refuseKey("--output", output);
  await checkTarget(output);
  const { DEFAULT_KEY_NAMESPACE, writeAesKeyFile, writeRsaKeyFiles } = await import("../keyring/key-file.ts");
  const written = await (type === "aes" ? writeAesKeyFile(output) : writeRsaKeyFiles(output)).catch(
    (error: unknown) => {
      if (codeOf(error) === "EEXIST")
        throw new CommandFailure(
          `${shown(output)}${type === "rsa" ? " (or .pub)" : ""}: exists already, and a key file is never overwritten`,
        );
      throw error;
    },
  );
  const { keyName } = written;
  if (options.json !== true)
    return note(`key ${keyName} is in ${shown(output)}; keep a copy in a safe place`);
  try {
    printJson({
      file: output,
      ...("publicKeyPath" in written && { publicKeyFile: written.publicKeyPath }),
      keyNamespace: DEFAULT_KEY_NAMESPACE,
      keyName,
    });
  } catch {
    throw new CommandFailure(
      `key ${keyName} is in ${shown(output)}, but could not be told on standard output`,
    );
  }
}

// What the system says of these would read as if the key were missing, or there already.
async function checkTarget(output: string): Promise<void> {
  const isFolder = await stat(output).then(
    (stats) => stats.isDirectory(),
    () => output.endsWith("/"),
  );
  if (isFolder) throw new CommandFailure(`${shown(output)}: is a folder`);
  const folder = path.dirname(output);
  const found = await stat(folder).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") throw new CommandFailure(`${shown(folder)}: no such folder`);
    throw error;
  });
  if (!found.isDirectory()) throw new CommandFailure(`${shown(folder)}: is no folder`);
}
