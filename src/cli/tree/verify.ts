// frameseal verify -r: whether a tree in a bucket is what it should be.
import { randomBytes } from "node:crypto";
import type { Command } from "commander";
import type { Sample } from "../../backup/sample.ts";
import { CommandFailure, UsageError } from "../failure.ts";
import { openTree, parseTreeAddress, type TreeOptions } from "./context.ts";
import { addJournalOptions } from "./journal-options.ts";
import { addManifestOption } from "./manifest-option.ts";
import { addNameOptions } from "./name-options.ts";
import { ofTrees } from "./recursive.ts";
import { reported, TreeReport } from "./report.ts";
import { addTreeReportOptions } from "./report-options.ts";
import { addTransferOptions } from "./transfer-options.ts";

/** What `addTreeVerifyOptions` adds. */
export interface TreeVerifyOptions extends TreeOptions {
  readonly manifest?: number | "latest";
  readonly sample?: Sample["size"];
  readonly seed?: string;
}

/** Adds what goes with -r. */
export function addTreeVerifyOptions(command: Command): Command {
  return ofTrees(command, () => {
    addManifestOption(command.optionsGroup("Trees:"), "compare the tree with the manifest of this run");
    command
      .option(
        "--sample <share>",
        "read some objects and compare the listing of all: 5%, or a count",
        parseSample,
      )
      .option(
        "--seed <text>",
        "which ones --sample chooses; the same every time (default: others every time)",
      );
    addNameOptions(command);
    command.optionsGroup("Transfers:");
    addTransferOptions(command);
    addJournalOptions(command);
    command.optionsGroup("Reports:");
    return addTreeReportOptions(command, false);
  });
}

/** Runs it. @param address what was given as input */
export async function verifyTreeCommand(
  address: string | undefined,
  options: TreeVerifyOptions,
): Promise<void> {
  if (address === undefined) throw new UsageError("-r takes an address such as s3://bucket/folder/");
  const place = parseTreeAddress(address);
  if (options.seed !== undefined && options.sample === undefined)
    throw new UsageError("--seed goes with --sample");
  const report = new TreeReport("verify", options);
  await reported(report, async () => {
    const { verifyTree } = await import("../../backup/verify-tree.ts");
    const context = await openTree(options, place, report, "decrypt", { authentication: "delayed" });
    try {
      const { manifest, instructionFileSuffix } = options;
      const count = await verifyTree(context, {
        manifest,
        sample: sampleFrom(options),
        instructionFileSuffix,
      });
      // A wrong prefix looks like an empty one. A manifest says what it is.
      if (count === 0 && manifest === undefined)
        throw new CommandFailure(
          "there is nothing to verify below this prefix: frameseal ls shows what is there",
        );
    } finally {
      context.close();
    }
  });
}

function sampleFrom({ sample, seed }: TreeVerifyOptions): Sample | undefined {
  return sample === undefined ? undefined : { size: sample, seed: seed ?? randomBytes(8).toString("hex") };
}

/** `5%`, `0.1%`, or a count. */
function parseSample(text: string): Sample["size"] {
  const share = /^([0-9]{1,3}(?:\.[0-9]{1,6})?)%$/.exec(text)?.[1];
  if (share !== undefined && Number(share) <= 100) return { share: Number(share) / 100 };
  if (/^[0-9]{1,15}$/.test(text)) return { count: Number(text) };
  throw new UsageError("expected a share such as 5%, or how many");
}
