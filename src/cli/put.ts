// frameseal put: a file, standard input or the output of a command -> one encrypted object.
import path from "node:path";
import { Readable } from "node:stream";
import type { Command } from "commander";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { inputOf } from "./file-command.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions, fieldsFrom } from "./object-fields.ts";
import { addKeyOptions, addMessageOptions, addReportOptions, addWriteOptions } from "./options.ts";
import { isTerminal, printJson } from "./output.ts";
import { Progress, type ProgressChoice } from "./progress.ts";
import { type Origin, openSource } from "./put-source.ts";
import {
  addObjectOptions,
  addUploadOptions,
  createEncryptingClient,
  isObjectAddress,
  type ObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
} from "./s3-options.ts";
import { parseTreeAddress } from "./tree/address.ts";
import {
  addPutTreeOptions,
  OF_ONE_OBJECT,
  PUT_TREE_HELP,
  type PutRunOptions,
  putFolder,
} from "./tree/put.ts";
import { addRecursiveOption, isRecursive } from "./tree/recursive.ts";
import { wordsBehindHyphens } from "./words.ts";

interface PutOptions extends ObjectOptions {
  readonly allowEmpty?: boolean;
  readonly fromCommand?: string;
  readonly progress?: ProgressChoice;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("put")
    .description("encrypt a file, standard input, the output of a command or a folder into objects of S3")
    .usage(
      "[options] [file] s3://bucket/key [-- command arguments...]\n       put -r [options] folder s3://bucket/prefix/",
    )
    .argument("<words...>", "file (-, or none: standard input), then s3://bucket/key")
    .optionsGroup("Input and output:")
    .option("--from-command <text>", "store what this shell command writes, if it exits with 0")
    .option("--allow-empty", "store an empty object if the input has no bytes");
  addRecursiveOption(command, "store a folder and all below it", OF_ONE_OBJECT);
  addReportOptions(command);
  for (const add of [addKeyOptions, addMessageOptions, addWriteOptions, addObjectOptions, addUploadOptions])
    add(command);
  addFieldOptions(command.optionsGroup("Fields of S3:"), "put");
  addAwsOptions(command);
  addPutTreeOptions(command);
  command.addHelpText("after", () => (command.getOptionValue("recursive") === true ? PUT_TREE_HELP : HELP));
  command.action((words: readonly string[], options: PutOptions & PutRunOptions) =>
    isRecursive(command) ? putTree(words, options) : put(words, options),
  );
}

const HELP = `
The object appears when all of it has arrived; what fails before leaves nothing behind. A pipe does
not tell that its writer failed: --from-command, and a command after --, store only what exited
with 0, and a pipeline of which every part did. The command reads nothing, has no terminal, and is
ended with frameseal; if that is killed (SIGKILL), the command fails at its next write.

Examples:
  frameseal put --key backup.key --from-command 'pg_dump shop | gzip' s3://backups/shop.sql.gz
  frameseal put --key backup.key s3://backups/shop.sql -- pg_dump shop
  frameseal put --kms arn:aws:kms:eu-west-1:111122223333:key/1234 photos.tar s3://backups/2026/
  frameseal put -r --key backup.key photos s3://backups/photos/`;

function putTree(words: readonly string[], options: PutRunOptions): Promise<void> {
  const [folder, to] = words;
  if (folder === undefined || !isObjectAddress(to) || words.length > 2 || wordsBehindHyphens() !== undefined)
    throw new UsageError("with -r give one folder, and then s3://bucket/prefix/");
  return putFolder("put", folder, parseTreeAddress(to), options);
}

async function put(words: readonly string[], options: PutOptions): Promise<void> {
  const { origin, address } = parseWords(words, options.fromCommand);
  if (origin.kind === "standard input" && isTerminal(0))
    throw new UsageError("no input: name a file, redirect standard input or give --from-command");
  if (options.expectedSize !== undefined && origin.kind === "file")
    throw new UsageError("--expected-size is for input of unknown length, not for a file");
  const fields = fieldsFrom(options);
  const client = await createEncryptingClient(options, "encrypt");
  const { PutObjectCommand } = await import("@aws-sdk/client-s3");
  const limits = { allowEmpty: options.allowEmpty === true, maxPlaintext: options.maxPlaintext };
  const source = await openSource(origin, limits);
  const progress = new Progress("uploading", options.progress);
  let done = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source.chunks()) {
      done += chunk.length;
      progress.update(done, source.length);
      yield chunk;
    }
  }
  let stored: object | undefined;
  try {
    const output = await client.send(
      new PutObjectCommand({
        ...address,
        ...fields,
        Body: Readable.from(counted(), { objectMode: false }),
        ...(source.length === undefined ? {} : { ContentLength: source.length }),
      }),
      { abortSignal: interruptSignal },
    );
    stored = {
      eTag: output.ETag,
      versionId: output.VersionId,
      serverSideEncryption: output.ServerSideEncryption ?? output.SSECustomerAlgorithm,
    };
  } finally {
    progress.stop();
    await source.close();
    client.destroy();
    const command = source.commandEnd();
    // What a command did is told of failures too.
    if (options.json === true && (stored !== undefined || command !== undefined))
      printJson({
        ...address,
        stored: stored !== undefined,
        plaintextLength: stored === undefined ? undefined : done,
        ...stored,
        command,
      });
  }
}

/** Which operands and words after `--` are what. */
function parseWords(
  words: readonly string[],
  fromCommand: string | undefined,
): { readonly origin: Origin; readonly address: ObjectAddress } {
  const { operands, line } = splitCommand(words);
  const to = operands.at(-1);
  const isCommand = fromCommand !== undefined || line !== undefined;
  if (!isObjectAddress(to) || operands.length > (isCommand ? 1 : 2))
    throw new UsageError(
      isCommand
        ? "with a command give s3://bucket/key alone, before --"
        : "give one file, or - for standard input, and then s3://bucket/key",
    );
  if (fromCommand !== undefined && line !== undefined)
    throw new UsageError("--from-command and a command after -- exclude each other");
  if (fromCommand?.trim() === "" || (line !== undefined && (line[0] ?? "") === ""))
    throw new UsageError("the command is empty");
  if (fromCommand !== undefined)
    return {
      origin: { kind: "command", line: { kind: "shell", text: fromCommand } },
      address: parseObjectAddress(to),
    };
  if (line !== undefined)
    return {
      origin: { kind: "command", line: { kind: "program", words: line } },
      address: parseObjectAddress(to),
    };
  const from = operands.length === 1 ? 0 : inputOf(operands[0]);
  return from === 0
    ? { origin: { kind: "standard input" }, address: parseObjectAddress(to) }
    : {
        origin: { kind: "file", name: String(from) },
        address: parseObjectAddress(to, path.basename(String(from))),
      };
}

// After an address, `--` begins a command; before it, `--` only ends the options, as it does everywhere.
function splitCommand(words: readonly string[]): {
  readonly operands: readonly string[];
  readonly line?: readonly string[];
} {
  const line = wordsBehindHyphens();
  const operands = words.slice(0, words.length - (line?.length ?? 0));
  return line !== undefined && isObjectAddress(operands.at(-1)) ? { operands, line } : { operands: words };
}
