// Arguments that nobody should give the addon. `npm run test:native:threads` makes more such calls, under sanitizers.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { nativeKernels } from "../../../src/engine/native/addon.ts";

const addon = fileURLToPath(new URL("../../../build/Release/frameseal.node", import.meta.url));
const program = fileURLToPath(new URL("../../native/wild_calls.mjs", import.meta.url));
const hasAddon =
  process.platform !== "win32" && existsSync(addon) && nativeKernels().some(({ works }) => works);

test.skipIf(!hasAddon).each(["1", undefined])(
  "wild calls of every function return or throw, seed %s",
  async (seed) => {
    const args = [program, addon, "30000", ...(seed === undefined ? [] : [seed])];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 50_000 });
    expect(stdout).toMatch(/^wild calls, seed \d+: \d{4,} returned, \d{4,} threw\n$/);
  },
);
