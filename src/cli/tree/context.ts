// Options of a command on a tree -> what the operation is given. Nothing is asked of a service here.
import { existsSync } from "node:fs";
import type { S3Client } from "@aws-sdk/client-s3";
import type { PlaceContext, TreeContext } from "../../backup/context.ts";
import type { TreeAddress } from "../../backup/entry.ts";
import type { Journal } from "../../backup/journal/journal.ts";
import type { AdaptiveQueue } from "../../backup/transfer/queue.ts";
import type { Keyring } from "../../keyring/keyring.ts";
import type { EncryptS3ClientOptions } from "../../s3/encrypt-s3-client.ts";
import type { KeyBinding } from "../../s3/object-format.ts";
import type { AuthenticationMode } from "../../s3/single-message/body.ts";
import { UsageError } from "../failure.ts";
import {
  createBareClient,
  encryptionSettingsFrom,
  type ObjectOptions,
  unsignedPayloadFor,
  withServerSide,
} from "../s3-options.ts";
import type { JournalOptions } from "./journal-options.ts";
import { tellKeyService } from "./key-service.ts";
import type { NameOptions } from "./name-options.ts";
import type { TreeReport } from "./report.ts";
import type { TreeReportOptions } from "./report-options.ts";
import type { TransferOptions } from "./transfer-options.ts";

export { parseTreeAddress } from "./address.ts";

/** Options of commands on trees. */
export type TreeOptions = Omit<ObjectOptions, "memory"> &
  NameOptions &
  TransferOptions &
  JournalOptions &
  TreeReportOptions;

/** What commands need that open and seal nothing. `close` must be called. */
export interface OpenPlace extends PlaceContext {
  readonly queue: AdaptiveQueue;
  readonly report: TreeReport;
  /** Tells what the queue came to, and lets go of everything. */
  close(): void;
}

/** What commands need that have keys. */
export interface OpenTree extends OpenPlace, Omit<TreeContext, "queue" | "report"> {
  /** How `client` encrypts. */
  readonly settings: EncryptS3ClientOptions;
  /** Bytes that one upload of a stream may take. */
  readonly streamMemory: number;
}

/** What is to be opened. */
export interface Opening {
  /** Of a `get`: the absolute path of the folder. */
  readonly target?: string | undefined;
  /** Whether the command has a journal at all. */
  readonly journal?: boolean | undefined;
  /** `delayed`: for commands that show nothing of an object before its end. */
  readonly authentication?: AuthenticationMode | undefined;
}

const MiB = 2 ** 20;
/** Of one upload of a stream, however large the budget is. */
const MAX_STREAM_MEMORY = 64 * MiB;
/** The least that the client takes, however small the budget is: such an upload runs alone then. */
const MIN_STREAM_MEMORY = 16 * MiB;

/** Opens a place without keys. @throws UsageError, FramesealError JOURNAL */
export async function openPlace(
  options: TreeOptions,
  address: TreeAddress,
  report: TreeReport,
  opening: Opening = {},
): Promise<OpenPlace> {
  const { place } = await open(options, address, report, "read", opening);
  return place;
}

/** Opens a place with keys, to write or to read. @throws UsageError, FramesealError JOURNAL */
export async function openTree(
  options: TreeOptions,
  address: TreeAddress,
  report: TreeReport,
  purpose: "encrypt" | "decrypt",
  opening: Opening = {},
): Promise<OpenTree> {
  const budget = options.memory ?? (await import("./transfer-options.ts")).TRANSFER_DEFAULTS.memory;
  const streamMemory = Math.min(MAX_STREAM_MEMORY, Math.max(MIN_STREAM_MEMORY, Math.floor(budget / 2)));
  // What is wrong with keys is told before a journal is made.
  const read = await encryptionSettingsFrom({ ...options, memory: streamMemory }, purpose);
  if (Object.hasOwn(read.encryptionContext ?? {}, "type"))
    throw new UsageError("--context: the pair type is that of links and manifests, with -r");
  const given = { ...read, keyring: await keyringOf(read.keyring, options) };
  const [{ encryptS3Client }, { MANIFEST_CONTEXT }, { withOldListing }] = await Promise.all([
    import("../../s3/encrypt-s3-client.ts"),
    import("../../backup/manifest/place.ts"),
    import("../../backup/server/old-listing.ts"),
  ]);
  const { place, bare } = await open(
    options,
    address,
    report,
    purpose === "encrypt" ? "write" : "read",
    opening,
  );
  try {
    const multipartStates = purpose === "encrypt" ? place.journal?.states : undefined;
    const { authentication } = opening;
    const unsignedPayload = await unsignedPayloadFor(bare);
    const settings = { ...given, authentication, unsignedPayload, multipartStates };
    const { bind, format, encryptionContext } = settings;
    // What is told from others by its context is framed, whatever the entries are: the others may have none.
    const framed =
      format === "framed" || format === undefined
        ? settings
        : { ...settings, format: "framed" as const, instructionFiles: undefined };
    return {
      ...place,
      settings,
      streamMemory,
      client: withOldListing(place.sdk, await encrypting(place, bare, settings)),
      links: await encrypting(place, bare, {
        ...framed,
        encryptionContext: { ...encryptionContext, type: "symlink" },
      }),
      // Never bound to less than the key.
      sealed: encryptS3Client(bare, {
        ...framed,
        bind: bind === "bucket" ? "bucket" : "key",
        encryptionContext: { ...encryptionContext, ...MANIFEST_CONTEXT },
      }),
    };
  } catch (error) {
    place.close();
    throw error;
  }
}

// A key service is asked as seldom as the binding allows.
async function keyringOf(keyring: Keyring, options: TreeOptions): Promise<Keyring> {
  if ((options.kms ?? []).length === 0 && options.kmsDiscovery === undefined) return keyring;
  const { treeKeyring } = await import("../../backup/transfer/tree-keyring.ts");
  return treeKeyring(keyring, options.bind as KeyBinding | undefined);
}

/** A client for many small objects; those with side objects go one way alone. */
async function encrypting(
  { sdk, queue }: OpenPlace,
  plain: S3Client,
  settings: EncryptS3ClientOptions,
): Promise<S3Client> {
  const { encryptS3Client } = await import("../../s3/encrypt-s3-client.ts");
  const client = encryptS3Client(plain, settings);
  if (settings.instructionFiles !== undefined) return client;
  const { withDirectRequests } = await import("../../backup/transfer/direct-requests.ts");
  // What is asked of the server is in the request that shows how.
  const bare = { serverSideEncryption: undefined, unsignedPayload: "never" } as const;
  return withDirectRequests({
    sdk,
    plain,
    client,
    seal: (base) => encryptS3Client(base, { ...settings, ...bare }),
    begin: () => queue.begin(),
  });
}

async function open(
  options: TreeOptions,
  address: TreeAddress,
  report: TreeReport,
  purpose: "read" | "write",
  { target, journal: hasJournal = true }: Opening,
): Promise<{ readonly place: OpenPlace; readonly bare: S3Client }> {
  const [
    sdk,
    { namesFrom },
    { createTransferQueue },
    { TRANSFER_DEFAULTS },
    { leaveOutChecksums },
    { withOldListing },
  ] = await Promise.all([
    import("@aws-sdk/client-s3"),
    import("./name-options.ts"),
    import("../../backup/transfer/queue.ts"),
    import("./transfer-options.ts"),
    import("../../backup/server/flags.ts"),
    import("../../backup/server/old-listing.ts"),
  ]);
  const { transfers, memory, retries } = { ...TRANSFER_DEFAULTS, ...options };
  const { signal } = report;
  const names = await namesFrom(options, address.prefix);
  const bare = await createBareClient({ ...options, transfers });
  const dryRun = options.dryRun === true;
  let journal: Journal | undefined;
  try {
    const queue = createTransferQueue({ maxInFlight: transfers, memory, retries, signal });
    queue.observe(bare);
    if (options.bwlimit !== undefined) {
      const { Bandwidth, limitBandwidth } = await import("../../backup/transfer/bandwidth.ts");
      limitBandwidth(bare, new Bandwidth(options.bwlimit));
    }
    leaveOutChecksums(bare, purpose);
    const plain = withOldListing(sdk, await withServerSide(bare, options));
    if (hasJournal) journal = await openJournalOf(bare, address, options, target, dryRun);
    const close = (): void => {
      report.fact("transfers", { ...queue.counts });
      tellKeyService(options, report);
      journal?.close();
      bare.destroy();
    };
    return { place: { sdk, plain, address, names, queue, journal, report, signal, dryRun, close }, bare };
  } catch (error) {
    journal?.close();
    bare.destroy();
    throw error;
  }
}

// A dry run makes none.
async function openJournalOf(
  client: S3Client,
  address: TreeAddress,
  options: JournalOptions,
  target: string | undefined,
  dryRun: boolean,
): Promise<Journal | undefined> {
  const { journalPlace } = await import("./journal-options.ts");
  const place = await journalPlace(client, address, options, target);
  if (place === undefined || (dryRun && !existsSync(place.file))) return undefined;
  const { openJournal } = await import("../../backup/journal/open-journal.ts");
  return openJournal(place);
}
