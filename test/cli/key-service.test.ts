// At the end of a run on a tree: calls of a key service, and when it is worth to say that fewer would do.
import { expect, test, vi } from "vitest";
import { tellKeyService } from "../../src/cli/tree/key-service.ts";

const calls = vi.hoisted(() => ({ GenerateDataKey: 0 }));
vi.mock("../../src/cli/contacted.ts", async (original) => ({
  ...(await original<typeof import("../../src/cli/contacted.ts")>()),
  requestCounts: () => (calls.GenerateDataKey === 0 ? {} : calls),
}));

test.each([
  [0, {}, 0, 0],
  [99, {}, 1, 0],
  [100, {}, 1, 1],
  [100, { bind: "bucket" }, 1, 1],
  [100, { bind: "prefix" }, 1, 0],
  [100, { bind: "none" }, 1, 0],
  [100, { format: "s3ec-v3" }, 1, 0],
])("%i data keys with %o", (count, options, facts, warnings) => {
  calls.GenerateDataKey = count;
  const report = { fact: vi.fn(), warn: vi.fn() };
  tellKeyService(options, report);
  expect([report.fact.mock.calls.length, report.warn.mock.calls.length]).toEqual([facts, warnings]);
});
