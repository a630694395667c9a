// frameseal get -r, and sync in the same direction: the objects below a prefix -> a folder.
import { existsSync } from "node:fs";
import path from "node:path";
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { TreeAddress } from "../../backup/entry.ts";
import type { RestoreContext } from "../../backup/get-entry.ts";
import type { GetOptions } from "../../backup/get-tree.ts";
import type { RunKind } from "../../backup/journal/journal.ts";
import type { TargetTree as Target, TargetOptions } from "../../backup/local/target-tree.ts";
import { noKeys } from "../../keyring/no-keys.ts";
import { CommandFailure, UsageError } from "../failure.ts";
import { oneOf } from "../values.ts";
import { type OpenPlace, openPlace, openTree, type TreeOptions } from "./context.ts";
import { addFilterOptions, FILTER_HELP, type FilterOptions, filtersFrom } from "./filter-options.ts";
import { addJournalOptions } from "./journal-options.ts";
import { addManifestOption, type ManifestOption } from "./manifest-option.ts";
import { addNameOptions } from "./name-options.ts";
import { ofTrees } from "./recursive.ts";
import { reported, TreeReport } from "./report.ts";
import { addTreeReportOptions } from "./report-options.ts";
import { addTransferOptions } from "./transfer-options.ts";

/** What `addRestoreOptions` adds. */
export interface RestoreChoices {
  readonly owner?: boolean;
  readonly sparse?: boolean;
  readonly times?: boolean;
  readonly mode?: boolean;
}

/** All options of a run that restores a tree. */
export interface GetRunOptions extends TreeOptions, FilterOptions, ManifestOption, RestoreChoices {
  readonly links?: string;
  readonly force?: boolean;
  readonly sync?: boolean;
  /** Of `sync`. */
  readonly delete?: boolean;
}

/** Adds what of files is restored besides their bytes. */
export function addRestoreOptions(command: Command): Command {
  return command
    .optionsGroup("What is restored:")
    .option("--owner", "owner and group too, by their numbers: for root")
    .option("--sparse", "holes where files have nothing but zeros")
    .option("--no-times", "leave times as they come")
    .option("--no-mode", "leave permissions as they come: for nobody else");
}

/** Adds the options of `get` that go with -r alone. */
export function addGetTreeOptions(command: Command): Command {
  return ofTrees(command, () => {
    addFilterOptions(command).option(
      "--links <policy>",
      "symbolic links: keep (default) those that stay inside, anywhere, or skip",
      oneOf("keep", "anywhere", "skip"),
    );
    addManifestOption(command, "the tree as this run stored it, and nothing that is not proven by it");
    addRestoreOptions(command);
    addNameOptions(command);
    command.optionsGroup("The run:");
    addJournalOptions(command);
    addTransferOptions(command);
    return addTreeReportOptions(command);
  });
}

/** Options of `get` that a tree cannot honour. */
export const GET_ONE_OBJECT = [
  "--version-id",
  "--if-match",
  "--if-none-match",
  "--buffer-size",
  "--max-plaintext",
] as const;

/** For the help of `get -r` and `sync`. */
export const GET_TREE_HELP = `
Files that are there with the same size and time are left; others are refused without --force. A
file appears under its name when all of it is verified, and is on disk then unless --no-sync is
given. Times and permissions come from the manifest, or without one from the metadata of the
objects, which nobody vouches for: setuid, setgid and sticky bits are restored from a manifest
only. What fails is told, and the exit code is 4, or 3 where something is not authentic or not
what the manifest names. An interrupted run keeps what it has verified of large files, and the
next one goes on there; with --no-journal that is removed.

${FILTER_HELP}`;

/** Restores what is below `address` into a folder. @throws what ends the run, PartialFailure */
export async function restoreFolder(
  kind: Extract<RunKind, "get" | "sync">,
  address: TreeAddress,
  folder: string,
  options: GetRunOptions,
): Promise<void> {
  const { links = "keep", manifest } = options;
  if (links === "follow")
    throw new UsageError("--links follow is for what is stored, not for what is restored");
  if (folder === "-") throw new UsageError("a tree goes into a folder, not to standard output");
  const root = path.resolve(folder);
  const filters = await filtersFrom(options);
  const overwrite = kind === "sync" || options.force === true ? "replace" : "refuse";
  const choice: TargetOptions = {
    overwrite,
    sync: options.sync === false ? "none" : "full",
    sparse: options.sparse === true,
    times: options.times === false ? "leave" : "restore",
    mode: options.mode === false ? "leave" : "restore",
    owner: options.owner === true ? "restore" : "leave",
    linkTargets: links === "anywhere" ? "anywhere" : "inside",
    make: options.dryRun === true ? "never" : "now",
  };
  const report = new TreeReport(kind, options);
  await reported(report, async () => {
    const [{ getTree }, { removeExtraneous }, { TargetTree }, { openManifest }] = await Promise.all([
      import("../../backup/get-tree.ts"),
      import("../../backup/remove-extraneous.ts"),
      import("../../backup/local/target-tree.ts"),
      import("../../backup/manifest/reader.ts"),
    ]);
    const place = await openFor(options, address, report, root);
    let target: Target | undefined;
    try {
      const source =
        manifest === undefined || place.sealed === undefined
          ? undefined
          : await openManifest({ ...place, sealed: place.sealed }, manifest);
      const how: GetOptions = {
        openTarget: async () => {
          target = await TargetTree.open(root, choice);
          return target;
        },
        selects: filters.isEmpty
          ? undefined
          : (name, type) => !filters.excludes(name, type === "directory" ? "directory" : "other"),
        links: links === "skip" ? "skip" : "keep",
        existing: overwrite,
        entries: source?.entries(),
        instructionFileSuffix: options.instructionFileSuffix ?? ".instruction",
      };
      const run = place.dryRun ? undefined : place.journal?.beginRun(kind);
      const result = await getTree(place, how);
      if (options.delete === true && existsSync(root)) await removeExtraneous(place, result, filters);
      if (run !== undefined) place.journal?.endRun(run, result.failed === 0 ? "done" : "failed-some");
      if (result.target !== undefined)
        report.fact("restored", {
          folder: root,
          durability: choice.sync === "none" ? "not-synced" : "synced",
        });
      // A wrong prefix looks like an empty one, and must not look like a restore. A manifest says what it is.
      else if (filters.isEmpty && source === undefined && result.failed === 0)
        throw new CommandFailure(
          "there is nothing to restore below this prefix: frameseal ls shows what is there",
        );
      else report.warn("there is nothing to restore");
    } finally {
      target?.close();
      place.close();
    }
  });
}

// What would be done is told without a key, but for what a manifest says.
async function openFor(
  options: GetRunOptions,
  address: TreeAddress,
  report: TreeReport,
  target: string,
): Promise<OpenPlace & RestoreContext & { readonly sealed: S3Client | undefined }> {
  if (options.dryRun !== true || options.manifest !== undefined)
    return openTree(options, address, report, "decrypt", { target, authentication: "delayed" });
  const place = await openPlace(options, address, report, { target });
  const { encryptS3Client } = await import("../../s3/encrypt-s3-client.ts");
  const client = encryptS3Client(place.plain, { keyring: noKeys });
  return { ...place, client, links: client, sealed: undefined };
}
