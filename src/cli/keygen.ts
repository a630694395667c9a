// frameseal keygen: makes a client-side master key in a file.
import type { Command } from "commander";
import { CommandFailure, codeOf, UsageError } from "./failure.ts";
import { hideKeys, note, printJson } from "./output.ts";

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
    .option("-t, --type <aes|rsa>", "what to make", "aes")
    .requiredOption("-o, --output <file>", "file to write, with mode 0600; never overwritten")
    .option("--json", "print the name of the key as JSON")
    .addHelpText(
      "after",
      `
Keep a copy of the key in a safe place: data encrypted under it is lost without it.
The key namespace is frameseal and the key name is the kid of the file (RSA: a hash of the public key);
--key-namespace and --key-name of the other commands override both.`,
    )
    .action(keygen);
}

async function keygen(options: KeygenOptions): Promise<void> {
  const { output, type } = options;
  if (type !== "aes" && type !== "rsa") throw new UsageError(`--type is aes or rsa, not ${hideKeys(type)}`);
  const { DEFAULT_KEY_NAMESPACE, writeAesKeyFile, writeRsaKeyFiles } = await import("../keyring/key-file.ts");
  try {
    if (type === "aes") {
      const { keyName } = await writeAesKeyFile(output);
      report(options, { file: output, keyNamespace: DEFAULT_KEY_NAMESPACE, keyName });
    } else {
      const { keyName, publicKeyPath } = await writeRsaKeyFiles(output);
      report(options, {
        file: output,
        publicKeyFile: publicKeyPath,
        keyNamespace: DEFAULT_KEY_NAMESPACE,
        keyName,
      });
    }
  } catch (error) {
    if (codeOf(error) === "EEXIST")
      throw new CommandFailure(
        `${hideKeys(output)}${type === "rsa" ? " (or .pub)" : ""}: a key file is never overwritten`,
      );
    throw error;
  }
}

function report(options: KeygenOptions, key: Readonly<Record<string, string>>): void {
  if (options.json === true) printJson(key);
  else note(`key ${key.keyName} is in ${hideKeys(options.output)}; keep a copy in a safe place`);
}
