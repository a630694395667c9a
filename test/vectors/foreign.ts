// Vectors that others wrote. They are no part of this repository and no test needs them: `describeVectors` is the one way
// to them, so that a suite is not even collected where they are not.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root =
  process.env.FRAMESEAL_VECTORS ?? fileURLToPath(new URL("../../../shared/vectors", import.meta.url));

/** A suite over vectors: skipped, and `define` not called, where there are none; in CI their absence is a failure. */
export function describeVectors(name: string, define: () => void): void {
  if (existsSync(root)) describe(name, define);
  else if (process.env.CI === "true") test(name, () => expect.unreachable(`CI has no vectors at ${root}`));
  else describe.skip(name, () => test("needs vectors: FRAMESEAL_VECTORS=FOLDER", () => {}));
}

/** Reads a file below the folder of the vectors. Inside of `describeVectors` only. */
export function readVector(...names: string[]): Buffer {
  return readFileSync(path.join(root, ...names));
}
