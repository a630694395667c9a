// Messages exchanged with AWS's Encryption SDKs: SDK x suite x set of keys x length x direction.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decrypt, encrypt } from "../../src/index.ts";
import { createKeySets, type KeySet } from "./esdk-keys.ts";
import { type Esdk, esdks, policyFor, suites, suitesWrittenHere } from "./esdk-peers.ts";
import { kmsClient } from "./programs.ts";

const suiteName = (suite: number): string => `0x${suite.toString(16).padStart(4, "0")}`;
const frameLength = 1024;
const lengths = [0, 1, frameLength - 1, frameLength, frameLength + 1, 3 * frameLength + 5];
const longLength = 100_003;
const context = { purpose: "integration", größe: "ß", Zebra: "1", _x: "2", "🔑": "astral", "\uffee": "high" };
const directions = ["written here", "read here"] as const;
type Direction = (typeof directions)[number];

let keySets: readonly KeySet[];
type Count = readonly [right: number, tried: number];
/** For each SDK, its version and, by suite and direction, how many messages were right of how many. */
interface Row {
  version: string;
  readonly counts: Map<string, Count>;
}
const rows = new Map<string, Row>();

beforeAll(async () => {
  keySets = await createKeySets();
});
afterAll(() => {
  kmsClient.destroy();
  console.log(report());
});

function report(): string {
  const lines = [["AWS Encryption SDK", "direction", ...suites.map(suiteName)]];
  let [right, tried] = [0, 0];
  for (const { name, start } of esdks) {
    const row = rows.get(name);
    if (start === undefined || row === undefined) lines.push([name, "not run"]);
    else
      for (const direction of directions) {
        const none: Count = [0, 0];
        const counts = suites.map((suite) => row.counts.get(`${direction} ${suite}`) ?? none);
        for (const count of counts) [right, tried] = [right + count[0], tried + count[1]];
        const cells = counts.map((count) => (count[1] === 0 ? "-" : count.join("/")));
        lines.push([`${name} ${row.version}`, direction, ...cells]);
      }
  }
  const widths = [20, 13, ...suites.map(() => 9)];
  const table = lines.map((line) =>
    line
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("")
      .trimEnd(),
  );
  return `${table.join("\n")}\n${right} of ${tried} messages exchanged, ${tried - right} failures`;
}

test("every SDK that is asked for is there", () => {
  const missing = esdks.filter(({ start }) => start === undefined).map(({ name }) => name);
  const onRequest = esdks.filter(({ onRequest }) => onRequest).map(({ name }) => name);
  const excused = process.env.FRAMESEAL_RUST === "1" ? [] : onRequest;
  if (process.env.CI === "true") expect(missing.filter((name) => !excused.includes(name))).toEqual([]);
});

describe.each(esdks.filter(({ start }) => start !== undefined))("AWS's Encryption SDK for $name", (entry) => {
  let sdk: Esdk;
  let row: Row;
  beforeAll(async () => {
    sdk = (entry.start as () => Esdk)();
    row = { version: await sdk.version(), counts: new Map() };
    rows.set(entry.name, row);
  });
  afterAll(() => sdk[Symbol.asyncDispose]());

  /** Counts what `exchange` does as right unless it throws. */
  async function attempt(
    [direction, suite]: [Direction, number],
    failures: string[],
    what: string,
    exchange: () => Promise<void>,
  ): Promise<void> {
    const cell = `${direction} ${suite}`;
    const [right, tried] = row.counts.get(cell) ?? [0, 0];
    try {
      await exchange();
      row.counts.set(cell, [right + 1, tried + 1]);
    } catch (error) {
      row.counts.set(cell, [right, tried + 1]);
      failures.push(`${what}, ${direction}: ${error}`);
    }
  }

  async function writtenHere(suite: number, { keys, keyring }: KeySet, plaintext: Buffer): Promise<void> {
    const policy = policyFor(suite);
    const options = { keyring, suite, commitmentPolicy: policy, encryptionContext: context, frameLength };
    const message = await encrypt(plaintext, options);
    const opened = await sdk.decrypt({ keys, policy, message });
    expect(plaintext.equals(opened.plaintext)).toBe(true);
    expect(opened.context).toMatchObject(context);
  }

  async function readHere(suite: number, keySet: KeySet, plaintext: Buffer, framed = true): Promise<void> {
    const policy = policyFor(suite);
    const { keys, keyring, alone } = keySet;
    const writing = { keys, policy, suite, context, plaintext, frameLength: framed ? frameLength : 0 };
    const message = await sdk.encrypt(writing);
    for (const reader of [keyring, ...alone]) {
      const options = { keyring: reader, commitmentPolicy: policy, encryptionContext: context };
      const opened = await decrypt(message, options);
      expect(plaintext.equals(opened.plaintext)).toBe(true);
      expect(opened.header.suite.id).toBe(suite);
      expect(opened.header.contentType).toBe(framed ? "framed" : "non-framed");
    }
  }

  test.each(suites.map((suite) => [suiteName(suite), suite] as const))("suite %s", async (_name, suite) => {
    const failures: string[] = [];
    for (const keySet of keySets)
      for (const length of keySet.name === "raw AES-256" ? [...lengths, longLength] : lengths) {
        const plaintext = randomBytes(length);
        const what = `${keySet.name}, ${length} bytes`;
        if (suitesWrittenHere.includes(suite) && (keySet.readableInNode || !entry.inThisProcess))
          await attempt(["written here", suite], failures, what, () => writtenHere(suite, keySet, plaintext));
        if (keySet.readableInNode)
          await attempt(["read here", suite], failures, what, () => readHere(suite, keySet, plaintext));
        if (keySet.name === "raw AES-256" && entry.writesWithoutFrames)
          await attempt(["read here", suite], failures, `${what} without frames`, () =>
            readHere(suite, keySet, plaintext, false),
          );
      }
    expect(failures).toEqual([]);
    const [, tried] = row.counts.get(`read here ${suite}`) ?? [0, 0];
    expect(tried).toBeGreaterThan(11 * lengths.length);
  });

  test("a wrong encryption context is refused by both", async () => {
    for (const { keys, keyring } of [keySets[0], keySets[4]] as readonly KeySet[]) {
      const message = await encrypt(Buffer.from("text"), { keyring, encryptionContext: { a: "1" } });
      const at = message.indexOf(Buffer.from([0, 1, 0x61, 0, 1, 0x31]));
      message[at + 5] = 0x32;
      await expect(decrypt(message, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
      const policy = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT";
      await expect(sdk.decrypt({ keys, policy, message })).rejects.toThrow();
    }
  });

  test("a suite without commitment is refused by both unless the policy allows it", async () => {
    const { keys, keyring } = keySets[4] as KeySet;
    const policy = "FORBID_ENCRYPT_ALLOW_DECRYPT";
    const message = await encrypt(Buffer.from("text"), { keyring, suite: 0x0178, commitmentPolicy: policy });
    const strict = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT";
    await expect(decrypt(message, { keyring })).rejects.toMatchObject({ code: "POLICY" });
    await expect(sdk.decrypt({ keys, policy: strict, message })).rejects.toThrow();
    expect((await sdk.decrypt({ keys, policy, message })).plaintext.toString()).toBe("text");
  });
});
