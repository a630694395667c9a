// The chain of manifests: each names the one before it and its digest, and the journal the newest that was seen here. So
// whoever removes or replaces one is noticed, as long as a later one is known.
import { hasCode } from "../../errors.ts";
import { isUntrusted } from "../untrusted.ts";
import { invalid, type ManifestLink } from "./format.ts";
import {
  listRuns,
  type ManifestPlace,
  manifestKey,
  manifestName,
  ofManifest,
  rememberedRun,
} from "./place.ts";
import { readWhole } from "./reader.ts";

/** Where the walk along the chain begins, and how far it reads. */
export interface ChainStart extends Required<Pick<ManifestLink, "run">> {
  readonly previous: ManifestLink | undefined;
  readonly sha256: string;
  /** `last`: only the one before is read; of the others, the listing tells whether they are there. */
  readonly read: "all" | "last";
}

/** Tells the report of every manifest before `start`, and of those behind it that should be there. */
export async function checkChain(place: ManifestPlace, start: ChainStart): Promise<void> {
  const there = new Set<number>();
  for await (const { run } of listRuns(place)) there.add(run);
  const remembered = rememberedRun(place);
  if (remembered !== undefined && !there.has(remembered.run) && remembered.run > start.run)
    tell(place, remembered.run, invalid("this machine has seen it, and it is not there any more"));
  if (remembered?.run === start.run && remembered.sha256 !== start.sha256)
    tell(place, start.run, invalid("it is another one than this machine has seen"));
  const digests = new Map<number, string>();
  if (remembered !== undefined) digests.set(remembered.run, remembered.sha256);
  let next = start.previous;
  let above = start.run;
  for (const run of [...there].filter((each) => each < start.run).sort((a, b) => b - a)) {
    place.signal.throwIfAborted();
    const isNeighbour = run === above - 1;
    if (!isNeighbour) tellGap(place, run, above);
    above = run;
    if (start.read === "last" && run < start.run - 1) continue;
    const expected = [isNeighbour && next?.run === run ? next.sha256 : undefined, digests.get(run)].filter(
      (digest) => digest !== undefined,
    );
    next = await checkOne(place, run, expected);
  }
  if (above > 1) tellGap(place, 0, above);
}

/** So many runs in a row are named one by one. */
const MAX_NAMED = 100;

// Whoever can write manifests chooses their numbers, and with them how many are missing.
function tellGap(place: ManifestPlace, below: number, above: number): void {
  const named = Math.max(below, above - 1 - MAX_NAMED);
  for (let run = above - 1; run > named; run--) tell(place, run, invalid("it is not there any more"));
  if (named === below) return;
  const text = `those of runs ${below + 1} to ${named} are not there any more, either`;
  tell(place, named, invalid(text));
}

// Returns what it says of the one before, if it can be read.
async function checkOne(
  place: ManifestPlace,
  run: number,
  expected: readonly string[],
): Promise<ManifestLink | undefined> {
  let read: Awaited<ReturnType<typeof readWhole>>;
  try {
    read = await readWhole(place, run);
  } catch (error) {
    if (!isUntrusted(error) && !hasCode(error, "UNSUPPORTED")) throw error;
    place.report.item({ ...recordOf(place, run), error, untrusted: isUntrusted(error) });
    return undefined;
  }
  if (expected.some((digest) => digest !== read.sha256))
    tell(place, run, invalid("it is another one than the run after it has seen"));
  else place.report.item({ ...recordOf(place, run), eTag: read.eTag });
  return read.header.previous;
}

function tell(place: ManifestPlace, run: number, error: ReturnType<typeof invalid>): void {
  place.report.item({ ...recordOf(place, run), error: ofManifest(error, run), untrusted: true });
}

function recordOf({ address }: ManifestPlace, run: number) {
  return {
    action: "verify",
    path: manifestName(run),
    key: manifestKey(address, run),
    type: "manifest",
  } as const;
}
