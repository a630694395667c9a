// Stores every object below a prefix anew, in its place: under another master key, or another data key. What is common to
// both: the listing, the queue, what the journal remembers so that a run which was killed goes on, and what is told.
import { randomBytes } from "node:crypto";
import { throwIfAborted } from "../errors.ts";
import type { Keyring } from "../keyring/keyring.ts";
import { sameETag } from "../s3/etag.ts";
import { isNotFound } from "../s3/object-source.ts";
import type { PlaceContext } from "./context.ts";
import { RESERVED_FOLDER } from "./entry.ts";
import type { Journal } from "./journal/journal.ts";
import { abortLeftovers } from "./journal/leftovers.ts";
import { isKnownKey, type KnownKey, rememberKey } from "./known-key.ts";
import { type ListedKey, listKeys } from "./manifest/list-keys.ts";
import { manifestKey, rememberedRun, rememberRun } from "./manifest/place.ts";
import { RunningTasks } from "./running-tasks.ts";
import type { Cost } from "./transfer/queue.ts";

/** One object of the listing. */
export interface RenewedObject extends ListedKey {
  /** A manifest of a run: bound to its key, with pairs of its own in its context. */
  readonly isManifest: boolean;
}

/** What became of an object, or would. */
export interface Renewed {
  /** How, in a few words. */
  readonly how: string;
  /** Bytes that this machine has read of it. */
  readonly readLength: number;
}

/** What became of an object. */
export interface Stored extends Renewed {
  /** ETag of what was read. */
  readonly previousETag: string | undefined;
  /** What stands there now. */
  readonly eTag: string | undefined;
  readonly versionId: string | undefined;
  /** What the object had and has no more. */
  readonly notKept: readonly string[];
}

/** One way to store objects anew. */
export interface Renewal {
  readonly kind: "rewrap" | "reencrypt";
  /** The master key from now on. */
  readonly to: Keyring;
  /** What else must be the same so that an object which an earlier run has done is done. */
  readonly settings: string;
  /** Whether a run that comes after a complete one does everything again. */
  readonly repeats: boolean;
  /** What names an instruction file, which goes with its object. */
  readonly instructionFileSuffix: string;
  /** What would be done. */
  plan(object: RenewedObject, signal: AbortSignal): Promise<Renewed>;
  /** @returns `done` for an object that is proven to be as it shall be already */
  renew(object: RenewedObject, signal: AbortSignal): Promise<Stored | "done">;
}

export type RenewContext = Pick<
  PlaceContext,
  "sdk" | "plain" | "address" | "names" | "queue" | "journal" | "report" | "signal" | "dryRun"
>;

/** Objects that the journal is told of at a time. */
const BATCH_LENGTH = 100;
const MiB = 2 ** 20;
/** Stored bytes of an object that is held whole. */
const SMALL_LENGTH = 8 * MiB;
/** How large objects go up, for `cost`. */
export const UPLOAD = { partSize: 8 * MiB, uploadConcurrency: 2, memory: 24 * MiB } as const;
/** A range on its way down, what is opened of it, and the parts on their way up. */
const LARGE: Cost = { memory: 16 * MiB + UPLOAD.memory, kind: "part" };

/** Bytes of ciphertext, plaintext and ciphertext again. */
function costOf({ storedSize }: ListedKey): Cost {
  return storedSize > SMALL_LENGTH ? LARGE : { memory: 3 * storedSize + 2 ** 18, kind: "small" };
}

/**
 * Stores all objects below the prefix anew, manifests too. Each is told, and what fails fails alone. What is there
 * already, as the journal or the object itself proves, is left.
 */
export async function renewTree(context: RenewContext, renewal: Renewal): Promise<void> {
  const { journal, dryRun } = context;
  if (journal === undefined) return new TreeRenewal(context, renewal, undefined).run();
  // Parts of uploads that were begun are under the key that is given up.
  await abortLeftovers({ ...context, journal }, () => false);
  if (dryRun)
    return new TreeRenewal(context, renewal, await Memory.read(journal, renewal, context.signal)).run();
  const run = journal.beginRun(renewal.kind);
  let outcome: "done" | "failed-some" | "failed" = "failed";
  try {
    const memory = await Memory.open(journal, renewal, context.signal);
    const tree = new TreeRenewal(context, renewal, memory);
    await tree.run();
    outcome = tree.failed === 0 ? "done" : "failed-some";
    if (outcome === "done") memory?.complete();
  } finally {
    journal.flush();
    journal.endRun(run, outcome);
  }
}

/** What is kept of runs that do the same. */
interface Remembered {
  readonly id: string;
  readonly key: KnownKey;
  readonly settings: string;
  readonly complete: boolean;
}

/** Which objects have been done already, for this key and these settings. */
class Memory {
  readonly #journal: Journal;
  readonly #kind: Renewal["kind"];
  readonly #remembered: Remembered;

  private constructor(journal: Journal, kind: Renewal["kind"], remembered: Remembered) {
    this.#journal = journal;
    this.#kind = kind;
    this.#remembered = remembered;
  }

  /** What earlier runs have done, if they did the same. */
  static async read(journal: Journal, renewal: Renewal, signal: AbortSignal): Promise<Memory | undefined> {
    const { kind, settings, repeats, to } = renewal;
    const note = journal.note(noteOf(kind));
    const known = note === undefined ? undefined : (JSON.parse(note) as Remembered);
    if (known === undefined || known.settings !== settings || (known.complete && repeats)) return undefined;
    return (await isKnownKey(to, known.key, signal)) ? new Memory(journal, kind, known) : undefined;
  }

  /** The same, and a new one if they did not; undefined where the key cannot be known again. */
  static async open(journal: Journal, renewal: Renewal, signal: AbortSignal): Promise<Memory | undefined> {
    const earlier = await Memory.read(journal, renewal, signal);
    if (earlier !== undefined) return earlier;
    const key = await rememberKey(renewal.to, signal);
    if (key === undefined) return undefined;
    const id = randomBytes(12).toString("hex");
    const remembered: Remembered = { id, key, settings: renewal.settings, complete: false };
    const memory = new Memory(journal, renewal.kind, remembered);
    memory.#write(remembered);
    return memory;
  }

  #write(remembered: Remembered): void {
    this.#journal.putNote(noteOf(this.#kind), JSON.stringify(remembered));
    this.#journal.flush();
  }

  /** Whether the very object that is listed was made by a run that did the same. */
  has({ key, eTag }: ListedKey): boolean {
    const [id, made] = this.#journal.done(this.#kind, key)?.split(" ", 2) ?? [];
    return id === this.#remembered.id && sameETag(made, eTag);
  }

  add(key: string, eTag: string): void {
    this.#journal.putDone(this.#kind, key, `${this.#remembered.id} ${eTag}`);
  }

  complete(): void {
    this.#write({ ...this.#remembered, complete: true });
  }
}

function noteOf(kind: Renewal["kind"]): string {
  return `${kind} of the tree`;
}

class TreeRenewal {
  readonly #context: RenewContext;
  readonly #renewal: Renewal;
  readonly #memory: Memory | undefined;
  readonly #tasks = new RunningTasks();
  readonly #ways = new Map<string, number>();
  #found = 0;
  #skipped = 0;
  #readLength = 0;
  failed = 0;

  constructor(context: RenewContext, renewal: Renewal, memory: Memory | undefined) {
    this.#context = context;
    this.#renewal = renewal;
    this.#memory = memory;
  }

  async run(): Promise<void> {
    const { address, report, signal, queue } = this.#context;
    let batch: RenewedObject[] = [];
    try {
      for await (const object of listKeys(this.#context, address)) {
        this.#found += 1;
        report.total(this.#found, 0, false);
        const reason = this.#whyNot(object);
        if (reason !== undefined) this.#skip(object, reason);
        else batch.push({ ...object, isManifest: this.#isReserved(object) });
        if (batch.length < BATCH_LENGTH) continue;
        await this.#start(batch);
        batch = [];
      }
      await this.#start(batch);
      report.total(this.#found, 0, true);
    } finally {
      await this.#tasks.settled();
      await queue.idle(); // what was aborted aborts its upload
    }
    this.#tasks.throwIfFailed();
    throwIfAborted(signal);
    report.fact(this.#renewal.kind, {
      objects: this.#found,
      ways: Object.fromEntries(this.#ways),
      skipped: this.#skipped,
      failed: this.failed,
      readBytes: this.#readLength,
    });
  }

  #isReserved({ key }: ListedKey): boolean {
    return key.startsWith(this.#context.address.prefix + RESERVED_FOLDER);
  }

  /** Why an object is not looked at, or undefined. */
  #whyNot(object: ListedKey): string | undefined {
    const { address } = this.#context;
    const { instructionFileSuffix } = this.#renewal;
    const name = object.key.slice(address.prefix.length);
    if (this.#isReserved(object) && !/^\.frameseal\/runs\/[0-9]{8}$/.test(name)) return "of no run";
    // Consoles make such objects to show folders. Nothing that is encrypted is empty.
    if (object.storedSize === 0 && (name === "" || name.endsWith("/"))) return "not encrypted, and empty";
    if (name.endsWith(instructionFileSuffix)) return "instruction file: it goes with its object";
    return this.#memory?.has(object) === true ? "done by an earlier run" : undefined;
  }

  async #start(batch: readonly RenewedObject[]): Promise<void> {
    const { queue, journal, dryRun } = this.#context;
    if (!dryRun && batch.length > 0) journal?.begin(batch.map(({ key }) => key));
    for (const object of batch) {
      await queue.ready(costOf(object).kind);
      this.#tasks.throwIfFailed();
      this.#tasks.start(dryRun ? this.#plan(object) : this.#renew(object));
    }
  }

  async #plan(object: RenewedObject): Promise<void> {
    const { queue } = this.#context;
    try {
      const cost: Cost = { memory: 2 ** 16, kind: costOf(object).kind };
      this.#tell(object, await queue.run(cost, (signal) => this.#renewal.plan(object, signal)));
    } catch (error) {
      this.#fail(object, error);
    }
  }

  async #renew(object: RenewedObject): Promise<void> {
    const { queue, journal, report } = this.#context;
    try {
      const stored = await queue.run(costOf(object), (signal) => this.#renewal.renew(object, signal));
      if (stored === "done") this.#skip(object, "done already");
      else {
        this.#remember(object, stored);
        this.#tell(object, stored);
        for (const each of stored.notKept) report.warn(`not kept: ${each}`, this.#pathOf(object));
      }
      journal?.end(object.key);
    } catch (error) {
      this.#fail(object, error);
    }
  }

  // What stands there now is what the source was compared with, if the very object of the row was read.
  #remember({ key }: RenewedObject, { previousETag, eTag, versionId }: Stored): void {
    const { journal, address } = this.#context;
    if (journal === undefined || !eTag) return; // servers may leave it out
    this.#memory?.add(key, eTag);
    if (sameETag(eTag, previousETag)) return; // only its instruction file is another one
    const row = journal.stored(key);
    if (row !== undefined && sameETag(row.eTag, previousETag)) journal.putStored({ ...row, eTag, versionId });
    const manifest = rememberedRun(this.#context);
    if (
      manifest !== undefined &&
      manifestKey(address, manifest.run) === key &&
      sameETag(manifest.eTag, previousETag)
    )
      rememberRun(this.#context, { ...manifest, eTag });
  }

  #tell(object: RenewedObject, { how, readLength }: Renewed): void {
    const { report, dryRun } = this.#context;
    this.#ways.set(how, (this.#ways.get(how) ?? 0) + 1);
    this.#readLength += readLength;
    const size = readLength === 0 ? {} : { size: readLength };
    report.item({
      action: "rewrap",
      ...this.#named(object),
      reason: how,
      ...size,
      ...(dryRun && { dryRun }),
    });
  }

  #skip(object: ListedKey, reason: string): void {
    const { report, dryRun } = this.#context;
    this.#skipped += 1;
    report.item({ action: "skip", ...this.#named(object), reason, ...(dryRun && { dryRun }) });
  }

  #fail(object: RenewedObject, error: unknown): void {
    if (isNotFound(error)) {
      this.#skip(object, "removed meanwhile");
      return;
    }
    this.failed += 1;
    this.#context.report.item({ action: "rewrap", ...this.#named(object), error });
  }

  #named(object: ListedKey): { readonly path: string; readonly key: string } {
    return { path: this.#pathOf(object), key: object.key };
  }

  // Names that are hidden, and whose key is not given, stay as they are.
  #pathOf(object: ListedKey): string {
    const { names, address } = this.#context;
    const name = object.key.slice(address.prefix.length);
    if (this.#isReserved(object)) return name;
    try {
      return names.entryOf(name).path;
    } catch {
      return name;
    }
  }
}
