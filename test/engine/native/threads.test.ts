// The threads of the addon when the system has all of them, some or none. `npm run test:native:threads` does the same
// under AddressSanitizer.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../../src/engine/native/addon.ts";
import { compileFailThreads } from "../../support/fail-threads.ts";

const addon = fileURLToPath(new URL("../../../build/Release/frameseal.node", import.meta.url));
const program = fileURLToPath(new URL("../../native/threads.mjs", import.meta.url));
const hasAddon =
  process.platform === "linux" && existsSync(addon) && nativeKernels().some(({ works }) => works);
const failThreads = hasAddon ? compileFailThreads() : undefined;
afterAll(() => failThreads?.remove());

const run = async (part: string, expected: string, environment: Record<string, string>): Promise<string> => {
  const env = { ...process.env, ...environment };
  const child = await promisify(execFile)(process.execPath, [program, addon, part, expected], {
    env,
    timeout: 50_000,
  });
  return child.stdout.trim();
};

describe.skipIf(!hasAddon)("threads of the addon", () => {
  const parts = ["pump", "crew", "hash"];
  test.each(parts)("%s: they block every signal, and are gone at the end", async (part) => {
    expect(await run(part, "all", {})).toBe(`${part}, threads: all: right`);
  });

  describe.skipIf(failThreads === undefined)("that cannot be had", () => {
    test.each(parts)("%s: the first, the second or the third", async (part) => {
      for (const which of ["1", "2", "3", "1-2"])
        expect(await run(part, "some", failThreads?.environment(which) ?? {})).toBe(
          `${part}, threads: some: right`,
        );
    });
    test.each(parts)("%s: all of them", async (part) => {
      expect(await run(part, "none", failThreads?.environment("1-") ?? {})).toBe(
        `${part}, threads: none: right`,
      );
    });
  });
});
