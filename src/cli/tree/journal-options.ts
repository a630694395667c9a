// Options of what commands on trees remember, and the journal that they mean.
import { homedir, userInfo } from "node:os";
import { isAbsolute } from "node:path";
import type { S3Client } from "@aws-sdk/client-s3";
import type { Command } from "commander";
import type { TreeAddress } from "../../backup/entry.ts";
import { defaultJournalFile } from "../../backup/journal/default-file.ts";
import type { JournalIdentity } from "../../backup/journal/journal.ts";

/** What `addJournalOptions` adds. */
export interface JournalOptions {
  /** False: none. */
  readonly journal?: string | false;
}

/** Adds where the journal is. */
export function addJournalOptions(command: Command): Command {
  return command
    .option("--journal <file>", "what runs remember (default: a file of its own in ~/.local/state/frameseal)")
    .option("--no-journal", "remember nothing, and resume nothing");
}

/** Where a journal is, and of which place. */
export interface JournalPlace {
  readonly file: string;
  readonly identity: JournalIdentity;
}

/**
 * Undefined with --no-journal.
 * @param target of a `get`: the absolute path of the folder
 */
export async function journalPlace(
  client: S3Client,
  { bucket, prefix }: TreeAddress,
  { journal }: JournalOptions,
  target?: string,
): Promise<JournalPlace | undefined> {
  if (journal === false) return undefined;
  const identity = { endpoint: await serviceOf(client), bucket, prefix, target };
  const file = journal ?? defaultJournalFile(identity, homeFolder(), process.env.XDG_STATE_HOME);
  return { file, identity };
}

// HOME may be empty or relative, as some that run programs at night have it: a journal would then be lost with the
// working folder, and the next run would begin anew.
function homeFolder(): string {
  const told = homedir();
  return isAbsolute(told) ? told : userInfo().homedir;
}

// In AWS a bucket has the same name wherever it is asked for.
async function serviceOf({ config }: S3Client): Promise<string> {
  const endpoint = await config.endpoint?.();
  if (endpoint !== undefined) {
    const { protocol, hostname, port, path } = endpoint;
    return `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`;
  }
  const region = await config.region();
  const { url } = config.endpointProvider({ Region: region });
  return url.hostname.replace(region, "*");
}
