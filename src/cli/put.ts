// frameseal put: file or standard input -> one encrypted object.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import type { Command } from "commander";
import { CommandFailure, UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { shown } from "./names.ts";
import {
  addAwsOptions,
  addKeyOptions,
  addMessageOptions,
  addReportOptions,
  addWriteOptions,
  collect,
  parsePairs,
} from "./options.ts";
import { isTerminal, printJson } from "./output.ts";
import { Progress, type ProgressChoice } from "./progress.ts";
import {
  addObjectOptions,
  addUploadOptions,
  createEncryptingClient,
  isObjectAddress,
  type ObjectOptions,
  parseObjectAddress,
} from "./s3-options.ts";

interface PutOptions extends ObjectOptions {
  readonly overwrite?: boolean;
  readonly metadata?: readonly string[];
  readonly contentType?: string;
  readonly progress?: ProgressChoice;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("put")
    .description("encrypt a file or standard input into an object of S3")
    .argument("<source...>", "file (or -, or nothing: standard input), then s3://bucket/key");
  for (const add of [addKeyOptions, addObjectOptions, addUploadOptions, addWriteOptions, addMessageOptions])
    add(command);
  command
    .option("--no-overwrite", "fail if the object exists")
    .option("--metadata <name=value>", "user metadata, stored in clear text (repeatable)", collect)
    .option(
      "--material-description <name=value>",
      "tells raw keys of s3ec objects apart (repeatable)",
      collect,
    )
    .option("--content-type <type>", "media type of the plaintext, stored in clear text");
  addReportOptions(command);
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
The object appears when all of it has arrived: what fails before leaves nothing behind.

Examples:
  pg_dump shop | frameseal put --key backup.key s3://backups/shop.sql
  frameseal put --key backup.key --sse s3 photos.tar s3://backups/2026/
  frameseal put --kms arn:aws:kms:eu-west-1:111122223333:key/… --format s3ec-v3 report.pdf s3://shared/`,
  );
  command.action(put);
}

async function put(operands: readonly string[], options: PutOptions): Promise<void> {
  const to = operands.at(-1);
  if (!isObjectAddress(to) || operands.length > 2)
    throw new UsageError("give one file, or - for standard input, and then s3://bucket/key");
  const from = operands.length === 1 ? "-" : (operands[0] ?? "-");
  if (from === "-" && isTerminal(0)) throw new UsageError("no input: name a file or redirect standard input");
  const address = parseObjectAddress(to, from === "-" ? undefined : path.basename(from));
  const length = from === "-" ? undefined : await lengthOf(from);
  if (
    options.format?.startsWith("s3ec") === true &&
    (options.key ?? []).length + (options.kms ?? []).length > 1
  )
    throw new UsageError("an s3ec object holds one wrapped key: give one --key or --kms");
  const Metadata = parsePairs("metadata", options.metadata);
  const client = await createEncryptingClient(options, "encrypt");
  const { PutObjectCommand } = await import("@aws-sdk/client-s3");
  const source = from === "-" ? process.stdin : createReadStream(from, { highWaterMark: 2 ** 20 });
  const progress = new Progress("uploading", options.progress);
  let done = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source as AsyncIterable<Uint8Array>) {
      done += chunk.length;
      progress.update(done, length);
      yield chunk;
    }
  }
  try {
    const output = await client.send(
      new PutObjectCommand({
        ...address,
        Body: Readable.from(counted(), { objectMode: false }),
        ...(length === undefined ? {} : { ContentLength: length }),
        ...(options.overwrite === false ? { IfNoneMatch: "*" } : {}),
        ...(options.contentType === undefined ? {} : { ContentType: options.contentType }),
        Metadata,
      }),
      { abortSignal: interruptSignal },
    );
    if (options.json === true)
      printJson({
        ...address,
        plaintextLength: done,
        eTag: output.ETag,
        versionId: output.VersionId,
        serverSideEncryption: output.ServerSideEncryption ?? output.SSECustomerAlgorithm,
      });
  } finally {
    progress.stop();
    source.destroy();
    client.destroy();
  }
}

async function lengthOf(file: string): Promise<number | undefined> {
  const stats = await stat(file);
  if (stats.isDirectory()) throw new CommandFailure(`${shown(file)}: is a folder`);
  return stats.isFile() ? stats.size : undefined;
}
