// A tree on the strict S3 server that is to be stored anew: keys, a queue, a journal, and what is in it.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { GetObjectCommand, PutObjectCommand, type PutObjectCommandInput } from "@aws-sdk/client-s3";
import type { Journal, StoredRow } from "../../src/backup/journal/journal.ts";
import { openJournal } from "../../src/backup/journal/open-journal.ts";
import { plainNames } from "../../src/backup/names/plain-names.ts";
import type { RenewContext } from "../../src/backup/renew-tree.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/keyring/raw-aes-keyring.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3/encrypt-s3-client.ts";
import { S3Server } from "../support/s3-server.ts";
import { KeptReport, treePlace } from "../support/tree-place.ts";

/** Keys of the same name are different ones too. */
export function keyringOf(seed: string, keyName = seed): RawAesKeyring {
  const wrappingKey = createHash("sha256").update(seed).digest();
  return new RawAesKeyring({ keyNamespace: "frameseal", keyName, wrappingKey });
}
export const oldKey = keyringOf("old");
export const newKey = keyringOf("new");

/** One tree; `using` it ends all. */
export class RenewedTree implements AsyncDisposable {
  readonly server: S3Server;
  readonly place: ReturnType<typeof treePlace>;
  readonly #folder = mkdtempSync(path.join(tmpdir(), "renewed-tree-"));
  #journal: Journal | undefined;

  private constructor(server: S3Server) {
    this.server = server;
    this.place = treePlace(server, undefined, { keyring: oldKey });
  }
  static async start(): Promise<RenewedTree> {
    return new RenewedTree(await S3Server.start());
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.#journal?.close();
    await this.server[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true });
  }

  async journal(): Promise<Journal> {
    this.#journal ??= await openJournal({
      file: path.join(this.#folder, "journal"),
      identity: { endpoint: "e", bucket: "b", prefix: "p/", target: undefined },
    });
    return this.#journal;
  }

  /** What one run has; `report` is its own. */
  context(more: Partial<RenewContext> = {}): RenewContext & { readonly report: KeptReport } {
    const signal = more.signal ?? new AbortController().signal;
    const { sdk, plain, address } = this.place;
    return {
      sdk,
      plain,
      address,
      names: plainNames,
      queue: createTransferQueue({ maxInFlight: 4, memory: 2 ** 28, retries: 0, signal }),
      journal: undefined,
      signal,
      dryRun: false,
      ...more,
      report: new KeptReport(),
    };
  }

  client(keyring = oldKey, options: Partial<EncryptS3ClientOptions> = {}) {
    return encryptS3Client(this.place.plain, { keyring, ...options });
  }
  async put(
    name: string,
    text: string,
    options: Partial<EncryptS3ClientOptions> = {},
    fields: Partial<PutObjectCommandInput> = {},
  ): Promise<string> {
    const input = { Bucket: "b", Key: `p/${name}`, Body: text, ...fields };
    const { ETag = "" } = await this.client(oldKey, options).send(new PutObjectCommand(input));
    return ETag;
  }
  async read(
    name: string,
    keyring = newKey,
    options: Partial<EncryptS3ClientOptions> = {},
  ): Promise<string | undefined> {
    const { Body } = await this.client(keyring, options).send(
      new GetObjectCommand({ Bucket: "b", Key: `p/${name}` }),
    );
    return Body?.transformToString();
  }

  /** What is done to the bucket while `run` runs. */
  async changesOf(run: () => Promise<void>): Promise<readonly string[]> {
    const { calls } = this.server;
    const before = calls.length;
    await run();
    return calls
      .slice(before)
      .filter(({ method }) => method !== "GET" && method !== "HEAD")
      .map(({ method, key }) => `${method} ${key}`);
  }
}

/** What a journal knows of an object. */
export function rowOf(name: string, eTag: string): StoredRow {
  return {
    path: name,
    key: `p/${name}`,
    type: "file",
    size: 1,
    mtimeNs: 1n,
    ctimeNs: 1n,
    inode: 1n,
    mode: 0o644,
    uid: undefined,
    gid: undefined,
    eTag,
    versionId: undefined,
    sha256: "00".repeat(32),
    run: 1,
  };
}

/** What was told of each entry, in a line. */
export function told({ items }: KeptReport): readonly string[] {
  return items
    .map(({ action, path: name, reason, error }) =>
      error === undefined ? `${action} ${name}: ${reason}` : `failed ${name}: ${codeOf(error)}`,
    )
    .sort();
}

function codeOf(error: unknown): string {
  const { code, name } = error as { readonly code?: string; readonly name: string };
  return code ?? name;
}
