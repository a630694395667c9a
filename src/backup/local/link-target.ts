// Whether a symbolic link that somebody else wrote may be made in a tree.

const MAX_TARGET_LENGTH = 4095; // of Linux

/** Why the bytes cannot be, or should not be, what a link says; undefined if they may. */
export type TargetFault = "not-a-target" | "leads-out";

/**
 * Checks where a link would lead, by its text alone. `..` is taken only in front, where it goes up through real folders:
 * behind a name it may go up from wherever a link of that name leads, and several links, each of them harmless, would
 * lead out together.
 * @param path of the link in the tree
 */
export function faultOfTarget(
  path: string,
  target: Uint8Array,
  platform: NodeJS.Platform = process.platform,
): TargetFault | undefined {
  const text = Buffer.from(target).toString("latin1");
  if (text === "" || text.includes("\0") || text.length > MAX_TARGET_LENGTH) return "not-a-target";
  if (text.startsWith("/")) return "leads-out";
  if (platform === "win32" && /[:\\]/.test(text)) return "leads-out";
  let up = path.split("/").length - 1; // folders above the link, below the root
  let isInFront = true;
  for (const name of text.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") isInFront = false;
    else if (!isInFront || --up < 0) return "leads-out";
  }
  return undefined;
}
