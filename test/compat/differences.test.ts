// The list of differences is the whole list as far as it can be observed: each entry is true of both packages.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeKms } from "../support/fake-kms.ts";
import { differences, missingExports } from "./differences.ts";
import { packages } from "./packages.ts";

let kms: FakeKms;
beforeAll(async () => {
  kms = await FakeKms.start();
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const head = [
    ["what", "@aws-crypto/client-node", "frameseal/client-node", "why"],
    ["---", "---", "---", "---"],
  ];
  const rows = differences.map(({ what, peer, ours: here, why }) => [what, peer, here, why]);
  console.log([...head, ...rows].map(row).join("\n"));
});

const [theirs, ours] = packages.map(([, sdk]) => sdk);
if (theirs === undefined || ours === undefined) throw new Error("two packages are compared");

describe("differences", () => {
  test.each(differences)("$what: $peer by the peer, $ours here", async ({ observe, peer, ours: here }) => {
    expect([await observe(theirs, kms), await observe(ours, kms)]).toEqual([peer, here]);
  });

  test("exports of the peer that are missing are listed, and nothing else is missing", () => {
    const missing = Object.keys(theirs).filter((name) => !Object.hasOwn(ours, name));
    expect(missing.filter((name) => name !== "default").sort()).toEqual(Object.keys(missingExports).sort());
  });

  test("exports that are not the peer's do not exist", () => {
    expect(Object.keys(ours).filter((name) => !Object.hasOwn(theirs, name))).toEqual([]);
  });

  test("numbers and words behind the names are the peer's", () => {
    for (const name of ["AlgorithmSuiteIdentifier", "CommitmentPolicy", "SignaturePolicy"] as const)
      expect({ ...ours[name] }).toEqual({ ...theirs[name] });
    for (const name of ["KeyringTraceFlag", "MessageFormat", "RawAesWrappingSuiteIdentifier"] as const)
      expect(theirs[name]).toMatchObject(ours[name]);
  });
});
