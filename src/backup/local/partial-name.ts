// The name of a file that is not complete, beside its final name.
import { createHash } from "node:crypto";

const SUFFIX = ".frameseal-part";
const MAX_NAME_LENGTH = 255; // of most file systems, in bytes

/** The name under which `name` grows: always the same, so that the next run finds it. */
export function partialNameOf(name: string): string {
  const whole = `.${name}${SUFFIX}`;
  if (Buffer.byteLength(whole) <= MAX_NAME_LENGTH) return whole;
  return `.${createHash("sha256").update(name).digest("hex")}${SUFFIX}`;
}

/** Whether a name may be that of such a file: nothing else is to have it. */
export function isPartialName(name: string): boolean {
  return name.startsWith(".") && name.endsWith(SUFFIX) && name.length > SUFFIX.length + 1;
}
