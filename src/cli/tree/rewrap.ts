// frameseal rewrap -r and reencrypt -r: all objects below a prefix under other keys.
import type { Command } from "commander";
import { UsageError } from "../failure.ts";
import { oldObjectsFrom, type RotationOptions, rotationKeyrings } from "../rotation.ts";
import { typed } from "../values.ts";
import { openPlace, parseTreeAddress, type TreeOptions } from "./context.ts";
import { addJournalOptions } from "./journal-options.ts";
import { addNameOptions } from "./name-options.ts";
import { ofTrees } from "./recursive.ts";
import { reported, TreeReport } from "./report.ts";
import { addTreeReportOptions } from "./report-options.ts";
import { addTransferOptions } from "./transfer-options.ts";

/** What `addTreeRewrapOptions` adds. */
export interface TreeRewrapOptions extends Omit<TreeOptions, "sseKmsKey"> {
  readonly sseKmsKey?: string;
}

/** Adds what goes with rewrap -r. */
export function addTreeRewrapOptions(command: Command): Command {
  ofTrees(command, () =>
    command
      .optionsGroup("Trees:")
      .option(
        "--sse-kms-key <arn>",
        "instead of --from and --to: KMS key by which S3 encrypts, changed without moving anything",
      ),
  );
  return addRenewalOptions(command);
}

/** Adds what goes with -r of every command that stores objects anew. */
export function addRenewalOptions(command: Command): Command {
  return ofTrees(command, () => {
    addNameOptions(command);
    command.optionsGroup("Transfers:");
    addTransferOptions(command);
    addJournalOptions(command);
    command
      .optionsGroup("Reports:")
      .option("--progress", "show progress even when stderr is no terminal")
      .option("--no-progress", "show no progress");
    return addTreeReportOptions(command);
  });
}

/** Runs rewrap -r. */
export async function rewrapTreeCommand(
  text: string,
  options: RotationOptions & TreeRewrapOptions & { readonly enforceRotation?: boolean },
): Promise<void> {
  const { sseKmsKey, enforceRotation, ...others } = options;
  if (sseKmsKey !== undefined) return updateEncryption(text, sseKmsKey, options);
  const address = parseTreeAddress(text);
  const { from, to = from } = await rotationKeyrings(options, true);
  const report = new TreeReport("rewrap", options);
  await reported(report, async () => {
    const { rewrapTree } = await import("../../backup/rewrap-tree.ts");
    const place = await openPlace(others, address, report);
    try {
      await rewrapTree(place, { ...oldObjectsFrom(others), from, to, enforceRotation });
    } finally {
      place.close();
    }
  });
}

/** Options that say nothing where only S3 changes its key. */
const OF_OTHER_KEYS = [
  ...["from", "to", "enforceRotation", "materialDescription", "keyNamespace", "rsaPadding", "kmsEndpoint"],
  ...["bind", "instructionFileSuffix", "enableLegacyWrappingAlgorithms", "context", "commitmentPolicy"],
  ...["engine", "maxFrameLength", "maxEncryptedDataKeys", "encryptNames", "namesKey"],
];

async function updateEncryption(
  text: string,
  keyArn: string,
  options: RotationOptions & TreeRewrapOptions & { readonly enforceRotation?: boolean },
): Promise<void> {
  for (const name of OF_OTHER_KEYS)
    if (Object.hasOwn(options, name))
      throw new UsageError(`--sse-kms-key changes the key of S3 and no other: leave ${typed(name)} out`);
  if (!/^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/[\w-]+$/.test(keyArn))
    throw new UsageError("--sse-kms-key takes the ARN of a key of AWS KMS: arn:aws:kms:…:key/…");
  const address = parseTreeAddress(text);
  const { sseKmsKey: _, ...others } = options;
  const report = new TreeReport("rewrap", options);
  await reported(report, async () => {
    const { updateTreeEncryption } = await import("../../backup/server-side-tree.ts");
    const place = await openPlace(others, address, report, { journal: false });
    try {
      await updateTreeEncryption(place, keyArn);
    } finally {
      place.close();
    }
  });
}
