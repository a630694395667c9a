// frameseal reencrypt: stored objects under new data keys, in the format and with the keys that are wanted from now on.
import type { Command } from "commander";
import type { ReencryptTreeOptions } from "../backup/reencrypt-tree.ts";
import type { FormatName } from "../s3/formats.ts";
import type { KeyBinding } from "../s3/object-format.ts";
import { addAwsOptions } from "./aws-client.ts";
import { UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { addFieldOptions } from "./object-fields.ts";
import { addHeaderOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import {
  addRotationKeyOptions,
  addRotationOptions,
  oldObjectsFrom,
  type RotationOptions,
  rotationKeyrings,
} from "./rotation.ts";
import {
  addLegacyOptions,
  addObjectOptions,
  createObjectClient,
  isObjectAddress,
  parseObjectAddress,
} from "./s3-options.ts";
import { openPlace, parseTreeAddress, type TreeOptions } from "./tree/context.ts";
import { addRecursiveOption, isRecursive } from "./tree/recursive.ts";
import { reported, TreeReport } from "./tree/report.ts";
import { addRenewalOptions } from "./tree/rewrap.ts";
import { collect, oneOf, parseSize, parseSuite, typed } from "./values.ts";

interface ReencryptCommandOptions extends RotationOptions, Omit<TreeOptions, "memory"> {
  readonly newBind?: string;
  readonly plain?: boolean;
  readonly memory?: number;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("reencrypt")
    .description("encrypt objects of S3 again, under new data keys")
    .argument("<object>", "s3://bucket/key, or with -r s3://bucket/folder/");
  addRotationOptions(command, " (default: --from)")
    .option(
      "--format <framed|s3ec-v3|s3ec-v2>",
      "what is written (default: framed stays framed, s3ec stays s3ec)",
      oneOf("framed", "s3ec-v3", "s3ec-v2"),
    )
    .option("--frame-length <bytes>", "plaintext bytes of a frame (default: what the object has)", parseSize)
    .option("--suite <id>", "algorithm suite (default: what the object has)", parseSuite)
    .option(
      "--new-bind <key|bucket|prefix|none>",
      "what the object is bound to from now on (default: as it was)",
      oneOf("key", "bucket", "prefix", "none"),
    )
    .option("--plain", "take what is not encrypted too, as it stands there")
    .option("--material-description <name=value>", "of --to, for s3ec objects (repeatable)", collect);
  addRotationKeyOptions(command).option("--json", "print what was done as JSON");
  for (const add of [addObjectOptions, addLegacyOptions, addHeaderOptions, addAwsOptions]) add(command);
  addFieldOptions(command, "reencrypt");
  addRecursiveOption(command, "all objects below the address");
  addRenewalOptions(command);
  command.addHelpText(
    "after",
    `
Every object is fetched, opened, encrypted again under a new data key and stored in its place.
Nothing of it is stored unless all of it is authentic, and nothing if it was replaced meanwhile.
Metadata, tags, storage class and locks stay; what could not be kept is printed. With --plain
whatever stands there unencrypted is sealed as if it were yours: nothing proves that it is.

Examples:
  frameseal reencrypt -r --from backup.key s3://backups/home/
  frameseal reencrypt -r --from old.key --to new.key --format framed s3://shared/`,
  );
  command.action(reencrypt);
}

async function reencrypt(text: string, options: ReencryptCommandOptions, command: Command): Promise<void> {
  if (!isObjectAddress(text)) throw new UsageError("give s3://bucket/key");
  return isRecursive(command) ? reencryptTreeCommand(text, options) : reencryptOne(text, options);
}

async function reencryptTreeCommand(text: string, options: ReencryptCommandOptions): Promise<void> {
  const address = parseTreeAddress(text);
  const settings = await settingsFrom(options);
  const report = new TreeReport("reencrypt", options);
  await reported(report, async () => {
    const { reencryptTree } = await import("../backup/reencrypt-tree.ts");
    const place = await openPlace(options, address, report);
    try {
      await reencryptTree(place, settings);
    } finally {
      place.close();
    }
  });
}

async function reencryptOne(text: string, options: ReencryptCommandOptions): Promise<void> {
  const { Bucket, Key } = parseObjectAddress(text);
  const settings = await settingsFrom(options);
  const { reencryptObject } = await import("../s3/reencrypt.ts");
  const client = await createObjectClient(options);
  try {
    const location = { bucket: Bucket, key: Key };
    const result = await reencryptObject(client, location, { ...settings, signal: interruptSignal });
    if (options.json === true) printJson({ Bucket, Key, ...result });
    else {
      const lost = result.notKept.length === 0 ? "" : `; not kept: ${result.notKept.join(", ")}`;
      print(`${text}: encrypted again${lost}`);
    }
  } finally {
    client.destroy();
  }
}

/** Options that only framed objects have. */
const ONLY_FRAMED = ["frameLength", "suite", "newBind"] as const;

async function settingsFrom(options: ReencryptCommandOptions): Promise<ReencryptTreeOptions> {
  const { format, frameLength, suite, newBind, plain } = options;
  if (format !== undefined && format !== "framed")
    for (const name of ONLY_FRAMED)
      if (options[name] !== undefined)
        throw new UsageError(`${typed(name)} does not go with --format ${format}`);
  const { enableLegacyUnauthenticatedModes } = options;
  return {
    ...oldObjectsFrom(options),
    ...(await rotationKeyrings(options, false)),
    enableLegacyUnauthenticatedModes,
    newFormat: format as FormatName | undefined,
    newBind: newBind as KeyBinding | undefined,
    frameLength,
    suite,
    plain,
  };
}
