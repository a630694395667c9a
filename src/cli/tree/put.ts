// frameseal put -r, and sync in the same direction: a folder -> the objects below a prefix.
import { statSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import type { TreeAddress } from "../../backup/entry.ts";
import type { NameMode } from "../../backup/manifest/format.ts";
import type { PutTreeOptions, Sealing, TreeSource } from "../../backup/put-tree.ts";
import { DEFAULT_FRAME_LENGTH } from "../../format/limits.ts";
import { UsageError } from "../failure.ts";
import { shown } from "../names.ts";
import { fieldsFrom } from "../object-fields.ts";
import { openPlace, openTree, type TreeOptions } from "./context.ts";
import {
  addFilterOptions,
  addListOptions,
  addWalkOptions,
  FILTER_HELP,
  type FilterOptions,
  filtersFrom,
  type ListOptions,
  pathListFrom,
  type WalkingOptions,
} from "./filter-options.ts";
import { addJournalOptions } from "./journal-options.ts";
import { addNameOptions } from "./name-options.ts";
import { ofTrees } from "./recursive.ts";
import { reported, TreeReport } from "./report.ts";
import { addTreeReportOptions } from "./report-options.ts";
import { addTransferOptions } from "./transfer-options.ts";

/** What `addComparisonOptions` adds. */
export interface ComparisonChoices {
  readonly checksum?: boolean;
  readonly trustJournal?: boolean;
}

/** All options of a run that puts a tree. */
export interface PutRunOptions
  extends TreeOptions,
    FilterOptions,
    ListOptions,
    WalkingOptions,
    ComparisonChoices {
  /** Of `sync`. */
  readonly delete?: boolean;
}

/** Adds what decides whether an entry is sent. */
export function addComparisonOptions(command: Command): Command {
  return command
    .optionsGroup("What is sent:")
    .option("--checksum", "compare bytes by their SHA-256, and not times: all of the source is read")
    .option("--trust-journal", "take the bucket to be as the journal says, without listing it");
}

/** Adds the options of `put` that go with -r alone. */
export function addPutTreeOptions(command: Command): Command {
  return ofTrees(command, () => {
    addFilterOptions(command);
    addListOptions(command);
    addWalkOptions(command);
    addComparisonOptions(command);
    addNameOptions(command);
    command.optionsGroup("The run:");
    addJournalOptions(command);
    addTransferOptions(command);
    return addTreeReportOptions(command);
  });
}

/** Options of `put` that a tree cannot honour. */
export const OF_ONE_OBJECT = [
  "--from-command",
  "--allow-empty",
  "--expected-size",
  "--max-plaintext",
  "--concurrency",
  "--if-match",
  "--no-overwrite",
] as const;

/** For the help of `put -r` and `sync`. */
export const PUT_TREE_HELP = `
An entry is sent again when its size, time of change, permissions or owner are not those that were
stored, or when the bucket does not have what was stored. A file that was only replaced by its
like, or read in the moment of its last change, is compared by its bytes. Every run ends with a
sealed manifest of all that is stored, below .frameseal/ of the prefix; it is not written when the
run is interrupted. What fails is told, and the exit code is 4. An interrupted run leaves its half
sent large files in the bucket, and the next run goes on with them; frameseal uploads --abort
removes them. With --no-journal they are removed at once.

${FILTER_HELP}`;

/** Puts the folder `source`. @throws what ends the run, PartialFailure */
export async function putFolder(
  kind: PutTreeOptions["kind"],
  source: string,
  address: TreeAddress,
  options: PutRunOptions,
): Promise<void> {
  const root = folderOf(source);
  const fields = fieldsFrom(options);
  if ((options.links as string | undefined) === "anywhere")
    throw new UsageError("--links anywhere is for what is restored, not for what is stored");
  if (options.delete === true && (options.filesFrom ?? options.filesFrom0) !== undefined)
    throw new UsageError("--delete would remove all that --files-from does not name: give one of them");
  if (options.trustJournal === true && options.journal === false)
    throw new UsageError("--trust-journal needs the journal that --no-journal leaves out");
  const filters = await filtersFrom(options);
  const list = await pathListFrom(options, root);
  const report = new TreeReport(kind, options);
  await reported(report, async () => {
    const tree =
      options.dryRun === true
        ? { ...(await openPlace(options, address, report)), sealing: undefined }
        : await openSealing(options, address, report, fields);
    try {
      const { walk } = await import("../../backup/local/walk.ts");
      const { putTree } = await import("../../backup/put-tree.ts");
      const from: TreeSource = {
        root,
        async *walk() {
          for (const { text, error } of list?.refused ?? [])
            yield { kind: "failed", path: text, error, incomplete: false };
          const { links, oneFileSystem } = options;
          yield* walk({ root, filters, links, oneFileSystem, named: list?.named, signal: report.signal });
        },
        excludes: (where, what) => filters.excludes(where, what),
      };
      const { entries, bytes, sent, sentBytes, unchanged, deleted, failed, uploadsLeft, manifest } =
        await putTree(tree, tree.sealing, from, {
          kind,
          checksum: options.checksum === true,
          trustJournal: options.trustJournal === true,
          deleteOthers: options.delete === true,
        });
      report.fact("put", { entries, bytes, sent, sentBytes, unchanged, deleted, failed, uploadsLeft });
      if (manifest !== undefined) report.fact("manifest", { ...manifest });
    } finally {
      tree.close();
    }
  });
}

async function openSealing(
  options: PutRunOptions,
  address: TreeAddress,
  report: TreeReport,
  fields: Readonly<Record<string, unknown>>,
) {
  const tree = await openTree(options, address, report, "encrypt");
  const {
    format = "framed",
    partSize = DEFAULT_PART_SIZE,
    frameLength = DEFAULT_FRAME_LENGTH,
  } = tree.settings;
  const sealing: Sealing = {
    client: tree.client,
    links: tree.links,
    sealed: tree.sealed,
    names: (options.encryptNames ?? "plain") as NameMode, // one of its words
    partSize,
    frameLength,
    streamMemory: tree.streamMemory,
    resumable: format === "framed",
    fields,
  };
  return { ...tree, sealing };
}

/** As that of streams. */
const DEFAULT_PART_SIZE = 8 * 2 ** 20;

// Errors of the system name it.
function folderOf(source: string): string {
  const root = path.resolve(source);
  if (!statSync(root).isDirectory())
    throw new UsageError(`${shown(source)} is no folder: without -r, put stores a single file`);
  return root;
}
