// A prefix on the strict S3 server, with the clients that operations on trees have.
import { createHash } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import type { TreeAddress } from "../../src/backup/entry.ts";
import type { Journal } from "../../src/backup/journal/journal.ts";
import { metadataOf } from "../../src/backup/local/attributes.ts";
import type { ManifestEntry } from "../../src/backup/manifest/format.ts";
import { MANIFEST_CONTEXT } from "../../src/backup/manifest/place.ts";
import { ManifestWriter } from "../../src/backup/manifest/writer.ts";
import { plainNames } from "../../src/backup/names/plain-names.ts";
import type { ItemRecord, Report } from "../../src/backup/report.ts";
import type { TransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/keyring/raw-aes-keyring.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3/encrypt-s3-client.ts";
import type { S3Server } from "./s3-server.ts";

/** A report that keeps what it is told. */
export class KeptReport implements Report {
  readonly items: ItemRecord[] = [];
  readonly warnings: { readonly text: string; readonly path: string | undefined }[] = [];
  readonly facts: { readonly record: string; readonly fields: Readonly<Record<string, unknown>> }[] = [];
  total(): void {}
  moved(): void {}
  item(record: ItemRecord): void {
    this.items.push(record);
  }
  warn(text: string, path?: string): void {
    this.warnings.push({ text, path });
  }
  fact(record: string, fields: Readonly<Record<string, unknown>>): void {
    this.facts.push({ record, fields });
  }
  /** What is not trusted: its path, and why. */
  get untrusted(): readonly string[] {
    return this.items
      .filter((item) => item.untrusted === true)
      .map(({ path, error }) => `${path}: ${(error as Error).message}`);
  }
}

/** The notes of a journal, and nothing else of it. */
export function notes(): Journal {
  const kept = new Map<string, string>();
  const some: Pick<Journal, "note" | "putNote" | "flush"> = {
    note: (name) => kept.get(name),
    putNote: (name, value) => void kept.set(name, value),
    flush: () => {},
  };
  return some as Journal;
}

export const treeKeyring = new RawAesKeyring({
  keyNamespace: "frameseal",
  keyName: "trees",
  wrappingKey: new Uint8Array(32).fill(9),
});

/** What operations on the tree at `address` have; the bucket is made if it is missing. */
export function treePlace(
  server: S3Server,
  address: TreeAddress = { bucket: "b", prefix: "p/" },
  options: Partial<EncryptS3ClientOptions> = {},
) {
  if (!server.buckets.has(address.bucket)) server.buckets.set(address.bucket, new Map());
  const plain = server.client({ maxAttempts: 1 });
  const base = { keyring: treeKeyring, ...options };
  const { signal } = new AbortController();
  const queue: TransferQueue = {
    run: (_, job) => job(signal),
    ready: async () => {},
    idle: async () => {},
  };
  return {
    sdk,
    queue,
    names: plainNames,
    address,
    plain,
    client: encryptS3Client(plain, base),
    // What has a context is framed.
    links: encryptS3Client(plain, {
      ...base,
      format: "framed",
      instructionFiles: undefined,
      encryptionContext: { type: "symlink" },
    }),
    sealed: encryptS3Client(plain, {
      keyring: treeKeyring,
      bind: "key",
      encryptionContext: MANIFEST_CONTEXT,
    }),
    journal: undefined as Journal | undefined,
    report: new KeptReport(),
    signal,
  };
}

export type Place = ReturnType<typeof treePlace>;
export type Tree = Readonly<Record<string, string>>;

/** Stores a tree as a run does. Names that end in `@` are links; those that end in `/` are folders. */
export async function storeTree(
  place: Place,
  tree: Tree,
  unchanged: readonly ManifestEntry[] = [],
): Promise<ManifestEntry[]> {
  const writer = await ManifestWriter.create(place, { kind: "put", names: "plain" });
  const entries = [...unchanged];
  for (const [name, text] of Object.entries(tree)) {
    const type = name.endsWith("@") ? "symlink" : name.endsWith("/") ? "directory" : "file";
    const path = name.replace(/\/$/, "");
    const attributes = { mtimeNs: BigInt(name.length) * 1_000_000_007n, mode: 0o640, uid: 1, gid: 2 };
    const output = await (type === "symlink" ? place.links : place.client).send(
      new place.sdk.PutObjectCommand({
        Bucket: place.address.bucket,
        Key: place.address.prefix + name,
        Body: text,
        Metadata: metadataOf({ ...attributes, type }),
      }),
    );
    const sha256 = createHash("sha256").update(text).digest("hex");
    const eTag = output.ETag ?? "";
    entries.push({ path, key: name, type, size: Buffer.byteLength(text), ...attributes, sha256, eTag });
  }
  for (const entry of entries) writer.add(entry);
  await writer.finish({ failed: 0 });
  writer.close();
  return entries;
}
