// frameseal ls: what is in a bucket, with the sizes of the plaintexts. No key is needed, but for names that are hidden.
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { ListedFolder, ListedObject, ListRequest } from "../backup/list-tree.ts";
import type { KeyNames } from "../backup/names/key-names.ts";
import { messageOf, throwIfAborted } from "../errors.ts";
import { noKeys } from "../keyring/no-keys.ts";
import { isNotFound } from "../s3/object-source.ts";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { note, print, printJson } from "./output.ts";
import { createObjectClient, isObjectAddress, type ObjectOptions } from "./s3-options.ts";
import { parseTreeAddress } from "./tree/address.ts";
import { addNameOptions, type NameOptions, namesFrom } from "./tree/name-options.ts";
import { collect, oneOf, typed } from "./values.ts";

interface ListOptions extends ObjectOptions, NameOptions {
  readonly recursive?: boolean;
  readonly all?: boolean;
  readonly sizes?: string;
  readonly json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("ls")
    .description("list buckets, or the objects in one with the sizes of their plaintexts")
    .argument("[place]", "s3://bucket/prefix/ (default: all buckets)")
    .option("-r, --recursive", "also what is in folders, one line for each object")
    .option("--all", "also what is reserved: manifests of runs")
    .option(
      "--sizes <arithmetic|head|stored>",
      "how sizes are found out: computed, asked one by one, or as stored (default: arithmetic)",
      oneOf("arithmetic", "head", "stored"),
    )
    .option("--json", "a record for each object, as lines of JSON")
    .optionsGroup("Objects:")
    .option("--sse-c-key <file>", "key of SSE-C: a file of 32 bytes")
    .option(
      "--addressing <path|virtual>",
      "where buckets are named (default: path at an endpoint)",
      oneOf("path", "virtual"),
    );
  addNameOptions(command).option(
    "-k, --key <file>",
    "key file that names are hidden with (repeatable)",
    collect,
  );
  addFieldOptions(command.optionsGroup("Fields of S3:"), "ls");
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
Sizes and names are as the bucket tells them: nothing is opened, so nothing is verified. Sizes of
objects of the S3 Encryption Clients may be a few bytes off where they were not asked one by one.

Example:
  frameseal ls -r --json s3://backups/2026/`,
  );
  command.action(list);
}

async function list(place: string | undefined, options: ListOptions): Promise<void> {
  if (place !== undefined && !isObjectAddress(place))
    throw new UsageError("the operand is s3://bucket/prefix/");
  if (place === undefined) {
    for (const name of ["recursive", "all", "sizes", "encryptNames", "namesKey", "key"] as const)
      if (options[name] !== undefined) throw new UsageError(`${typed(name)} goes with s3://bucket/prefix/`);
    return listBuckets(options);
  }
  if (options.key !== undefined && options.encryptNames === undefined)
    throw new UsageError("--key goes with --encrypt-names: nothing else that is listed needs one");
  const address = parseTreeAddress(place);
  const names = await namesFrom(options, address.prefix);
  const [sdk, { encryptS3Client }, { listLevel, listTree }, { leaveOutChecksums }, { withOldListing }] =
    await Promise.all([
      import("@aws-sdk/client-s3"),
      import("../s3/encrypt-s3-client.ts"),
      import("../backup/list-tree.ts"),
      import("../backup/server/flags.ts"),
      import("../backup/server/old-listing.ts"),
    ]);
  const plain = await createObjectClient(options);
  leaveOutChecksums(plain, "read");
  try {
    const encrypting = encryptS3Client(plain, {
      keyring: noKeys,
      listSizes: options.sizes as "arithmetic" | "head" | "stored" | undefined, // one of its words
    });
    const client = withOldListing(sdk, encrypting);
    const { all } = options;
    const request: ListRequest = { sdk, client, address, all, signal: interruptSignal };
    const listed = options.recursive === true ? listTree(request) : listLevel(request);
    const printer = new Printer(names, options);
    for await (const each of listed) {
      throwIfAborted(interruptSignal);
      if (all === true || !MANIFEST.test(each.key)) printer.print(each);
    }
    if (printer.count === 0 && !place.endsWith("/")) {
      const one = await listObject(request);
      if (one !== undefined) printer.print(one);
    }
    printer.end();
  } finally {
    plain.destroy();
  }
}

/** Manifests of trees that begin further down. */
const MANIFEST = /\/\.frameseal\/runs\/[0-9]{8}$/;

/** The object whose key is the prefix without its slash. */
async function listObject({ client, address }: ListRequest): Promise<ListedObject | undefined> {
  const key = address.prefix.slice(0, -1);
  if (key === "") return undefined;
  try {
    const { HeadObjectCommand } = await import("@aws-sdk/client-s3");
    const head = await client.send(new HeadObjectCommand({ Bucket: address.bucket, Key: key }), {
      abortSignal: interruptSignal,
    });
    const { ContentLength: size = 0, ETag: eTag, LastModified: modified, StorageClass: storageClass } = head;
    return { kind: "object", key, name: key, size, eTag, modified, storageClass };
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Prints what is listed. What has no name is printed by its key, and fails the command at its end. */
class Printer {
  count = 0;
  readonly #names: KeyNames;
  readonly #options: ListOptions;
  #failure: { readonly error: unknown } | undefined;

  constructor(names: KeyNames, options: ListOptions) {
    this.#names = names;
    this.#options = options;
  }

  print(each: ListedObject | ListedFolder): void {
    this.count += 1;
    let path: string | undefined;
    try {
      path = pathOf(each, this.#names);
    } catch (error) {
      this.#failure ??= { error };
      note(`${each.key}: ${messageOf(error)}`);
    }
    if (this.#options.json === true) printJson(recordOf(each, path));
    else print(lineOf(each, path ?? each.key));
  }

  /** @throws what the first name failed with */
  end(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

function pathOf({ name }: ListedObject | ListedFolder, names: KeyNames): string {
  if (name === "") return "./";
  const { path, isDirectory } = names.entryOf(name);
  return isDirectory ? `${path}/` : path;
}

function recordOf(each: ListedObject | ListedFolder, path: string | undefined): object {
  if (each.kind === "folder") return { prefix: each.key, path };
  const { key, size, modified, eTag, storageClass } = each;
  return { key, path, size, modified, eTag, storageClass };
}

const SIZE_WIDTH = 15;

function lineOf(each: ListedObject | ListedFolder, path: string): string {
  if (each.kind === "folder") return `${"".padEnd(20)} ${"PRE".padStart(SIZE_WIDTH)} ${path}`;
  return `${timeOf(each.modified)} ${String(each.size).padStart(SIZE_WIDTH)} ${path}`;
}

function timeOf(time: Date | undefined): string {
  return (time?.toISOString().replace(/\.\d+Z$/, "Z") ?? "").padEnd(20);
}

async function listBuckets(options: ListOptions): Promise<void> {
  const { ListBucketsCommand } = await import("@aws-sdk/client-s3");
  const client: S3Client = await createObjectClient(options);
  try {
    let ContinuationToken: string | undefined;
    do {
      const page = await client.send(new ListBucketsCommand({ ContinuationToken }), {
        abortSignal: interruptSignal,
      });
      for (const { Name = "", CreationDate } of page.Buckets ?? [])
        if (options.json === true) printJson({ bucket: Name, created: CreationDate });
        else print(`${timeOf(CreationDate)} ${Name}`);
      if (page.ContinuationToken === ContinuationToken) break;
      ContinuationToken = page.ContinuationToken;
    } while (ContinuationToken !== undefined);
  } finally {
    client.destroy();
  }
}
