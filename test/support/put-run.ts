// Runs that put a tree of the file system into the strict server, as the command line sets them up.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import * as sdk from "@aws-sdk/client-s3";
import type { PlaceContext } from "../../src/backup/context.ts";
import type { Journal } from "../../src/backup/journal/journal.ts";
import { openJournal } from "../../src/backup/journal/open-journal.ts";
import { type FilterSource, Filters } from "../../src/backup/local/filters.ts";
import { type LinkPolicy, walk } from "../../src/backup/local/walk.ts";
import type { WalkEvent } from "../../src/backup/local/walk-event.ts";
import type { ManifestEntry } from "../../src/backup/manifest/format.ts";
import { openManifest } from "../../src/backup/manifest/reader.ts";
import { plainNames } from "../../src/backup/names/plain-names.ts";
import type { PutTreeOptions, PutTreeResult, Sealing } from "../../src/backup/put-tree.ts";
import { putTree } from "../../src/backup/put-tree.ts";
import type { ItemRecord, Report } from "../../src/backup/report.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import type { S3Server } from "./s3-server.ts";

export const BUCKET = "bucket";

/** What a run told. */
export class KeptReport implements Report {
  readonly items: ItemRecord[] = [];
  readonly warnings: string[] = [];
  readonly facts = new Map<string, unknown>();
  readonly #onWarning: ((text: string) => void) | undefined;
  constructor(onWarning?: (text: string) => void) {
    this.#onWarning = onWarning;
  }
  total(): void {}
  moved(): void {}
  item(record: ItemRecord): void {
    this.items.push(record);
  }
  warn(text: string, where?: string): void {
    this.warnings.push(where === undefined ? text : `${where}: ${text}`);
    this.#onWarning?.(text);
  }
  fact(record: string, fields: Readonly<Record<string, unknown>>): void {
    this.facts.set(record, fields);
  }
  /** Paths with what became of them, sorted. */
  get told(): string[] {
    return this.items
      .map(({ action, path: where, reason, error }) =>
        error === undefined ? `${action} ${where} ${reason}` : `failed ${where}`,
      )
      .sort();
  }
}

export interface RunSettings extends Partial<PutTreeOptions> {
  /** File of the journal; none without. */
  readonly journal?: string | undefined;
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly links?: LinkPolicy;
  readonly filters?: readonly FilterSource[];
  readonly signal?: AbortSignal;
  readonly transfers?: number;
  readonly retries?: number;
  readonly partSize?: number;
  readonly wrappingKey?: Uint8Array<ArrayBuffer>;
  /** What the walk tells besides. */
  readonly failed?: WalkEvent;
  readonly onWarning?: (text: string) => void;
  /** Between the walk and what is done with what it finds. */
  readonly onEntry?: (path: string) => void;
  readonly sealing?: Partial<Sealing>;
  /** Called with the client that does not encrypt, before others are made from it. */
  readonly onClient?: (plain: sdk.S3Client) => void;
}

const wrapping = new Uint8Array(32).fill(7);

/** The clients of a run. */
export function clientsOf(
  server: S3Server,
  journal: Journal | undefined,
  onClient: RunSettings["onClient"] = undefined,
  wrappingKey = wrapping,
) {
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
  const plain = server.client({ maxAttempts: 1 });
  onClient?.(plain);
  const options = {
    keyring,
    partSize: 5 * 2 ** 20,
    ...(journal === undefined ? {} : { multipartStates: journal.states }),
  };
  return {
    plain,
    client: encryptS3Client(plain, options),
    links: encryptS3Client(plain, { ...options, encryptionContext: { type: "symlink" } }),
    sealed: encryptS3Client(plain, { keyring, encryptionContext: { type: "manifest" } }),
  };
}

/** What the newest manifest has, by path; with what it says besides. */
export async function manifestOf(server: S3Server, prefix = "p/") {
  const { plain, sealed } = clientsOf(server, undefined);
  const place = {
    sdk,
    plain,
    sealed,
    address: { bucket: BUCKET, prefix },
    journal: undefined,
    report: new KeptReport(),
    signal: new AbortController().signal,
  };
  const manifest = await openManifest(place, "latest");
  const all: ManifestEntry[] = [];
  for await (const entry of manifest.entries()) all.push(entry);
  return { header: manifest.header, all, entries: new Map(all.map((entry) => [entry.path, entry])) };
}

/** Puts a folder. */
export async function put(
  server: S3Server,
  root: string,
  settings: RunSettings = {},
): Promise<{ readonly report: KeptReport; readonly result: PutTreeResult }> {
  const { prefix = "p/", dryRun = false, signal = new AbortController().signal, links } = settings;
  const report = new KeptReport(settings.onWarning);
  const journal =
    settings.journal === undefined
      ? undefined
      : await openJournal({
          file: settings.journal,
          identity: { endpoint: server.endpoint, bucket: BUCKET, prefix },
        });
  try {
    const {
      plain,
      client,
      links: linkClient,
      sealed,
    } = clientsOf(server, journal, settings.onClient, settings.wrappingKey);
    const queue = createTransferQueue({
      maxInFlight: settings.transfers ?? 8,
      memory: 64 * 2 ** 20,
      retries: settings.retries ?? 0,
      signal,
      after: (_, then) => {
        const now = setImmediate(then);
        return () => clearImmediate(now);
      },
    });
    const context: PlaceContext = {
      sdk: sdk as unknown as PlaceContext["sdk"],
      plain,
      address: { bucket: BUCKET, prefix },
      names: plainNames,
      queue,
      journal,
      report,
      signal,
      dryRun,
    };
    const filters = new Filters(settings.filters);
    const sealing: Sealing = {
      client,
      links: linkClient,
      sealed,
      names: "plain",
      partSize: settings.partSize ?? 5 * 2 ** 20,
      frameLength: 65_536,
      streamMemory: 48 * 2 ** 20,
      resumable: true,
      fields: {},
      ...settings.sealing,
    };
    const result = await putTree(
      context,
      dryRun ? undefined : sealing,
      {
        root,
        walk: async function* () {
          for await (const event of walk({ root, filters, links, signal })) {
            if (event.kind === "entry") settings.onEntry?.(event.entry.path);
            yield event;
          }
          if (settings.failed !== undefined) yield settings.failed;
        },
        excludes: (where, kind) => filters.excludes(where, kind),
      },
      {
        kind: settings.kind ?? "put",
        checksum: settings.checksum ?? false,
        trustJournal: settings.trustJournal ?? false,
        deleteOthers: settings.deleteOthers ?? false,
      },
    );
    return { report, result };
  } finally {
    journal?.close();
  }
}

/** A folder that is removed at the end of a test. */
export class TemporaryTree implements Disposable {
  readonly folder = mkdtempSync(path.join(tmpdir(), "frameseal-tree-"));
  readonly root = path.join(this.folder, "source");
  readonly journal = path.join(this.folder, "state", "run.journal");

  constructor(files: Readonly<Record<string, string | Uint8Array>> = {}) {
    mkdirSync(this.root);
    for (const [name, content] of Object.entries(files)) this.write(name, content);
  }

  at(name: string): string {
    return path.join(this.root, name);
  }
  /** Writes a file, or makes a folder if the name ends with a slash. Its times are old. */
  write(name: string, content: string | Uint8Array = ""): void {
    mkdirSync(path.dirname(this.at(name)), { recursive: true });
    if (name.endsWith("/")) mkdirSync(this.at(name), { recursive: true });
    else writeFileSync(this.at(name), content);
    utimesSync(this.at(name), 1e9 + 0.25, 1e9 + 0.25);
  }
  link(name: string, target: string): void {
    mkdirSync(path.dirname(this.at(name)), { recursive: true });
    symlinkSync(target, this.at(name));
  }
  [Symbol.dispose](): void {
    chmodSync(this.root, 0o755);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
