// Times, permissions and owners of what is restored, set through an open file.
import type { Attributes } from "../entry.ts";
import type { FileCalls } from "./file-calls.ts";

/** What an entry had, as far as it is known. */
export interface RestoredAttributes extends Partial<Attributes> {
  /** `sealed`: from a manifest that was authenticated; only then more than permissions is taken of a mode. */
  readonly proof: "sealed" | "hint";
}

/** Which attributes are restored. */
export interface AttributeChoice {
  /** By default restored. */
  readonly times?: "restore" | "leave" | undefined;
  /** By default restored. */
  readonly mode?: "restore" | "leave" | undefined;
  /** By default left: only root may give files away. */
  readonly owner?: "restore" | "leave" | undefined;
}

const PERMISSIONS = 0o777;

/**
 * Sets what is known and chosen. Files of other users, and of other groups, never get setuid or setgid.
 * @throws Error with the system's code
 */
export async function setAttributes(
  calls: FileCalls,
  descriptor: number,
  attributes: RestoredAttributes,
  choice: AttributeChoice,
): Promise<void> {
  const { mtimeNs, mode, uid, gid } = attributes;
  // Before the mode, since it takes away setuid and setgid.
  if (choice.owner === "restore" && (uid !== undefined || gid !== undefined))
    await calls.setOwner(descriptor, uid ?? UNCHANGED, gid ?? UNCHANGED);
  if (choice.mode !== "leave" && mode !== undefined)
    await calls.setMode(descriptor, await allowedMode(calls, descriptor, attributes, mode));
  if (choice.times !== "leave" && mtimeNs !== undefined) await calls.setTimes(descriptor, secondsOf(mtimeNs));
}

const UNCHANGED = 2 ** 32 - 1;

async function allowedMode(
  calls: FileCalls,
  descriptor: number,
  { proof, uid, gid }: RestoredAttributes,
  mode: number,
): Promise<number> {
  if (proof !== "sealed" || (mode & ~PERMISSIONS) === 0) return mode & PERMISSIONS;
  const stats = await calls.stat(descriptor);
  const isSameOwner =
    uid !== undefined && gid !== undefined && Number(stats.uid) === uid && Number(stats.gid) === gid;
  return mode & (isSameOwner ? 0o7777 : PERMISSIONS | 0o1000);
}

/**
 * What Node takes as a time. It is a number of seconds with 53 bits, of which older versions use whole microseconds: times
 * are cut to microseconds, and a quarter of one is added so that none is lost in rounding.
 */
export function secondsOf(ns: bigint): string {
  // A text, since Node takes negative numbers for the present.
  if (ns < 0n) return String(Number(ns) / 1e9);
  return String((Number(ns / 1000n) + 0.25) / 1e6);
}

/** Whether a file with time `found` may have been restored with time `wanted`. */
export function isSameTime(wanted: bigint, found: bigint): boolean {
  const difference = wanted - found;
  const size = wanted < 0n ? -wanted : wanted;
  // Beyond the year 2106 a double has not even microseconds.
  const exactness = size < 2n ** 32n * 1_000_000_000n ? 1_000n : (size >> 52n) + 1_000n;
  return difference <= exactness && -difference <= exactness;
}
