// What may be read is decided before a key is touched. A second program, written from the specification as rules over
// sets of names, decides the same for many envelopes, true and forged.
import { expect, test } from "vitest";
import { FramesealError, RawAesKeyring } from "../../../src/index.ts";
import type { StoredObject } from "../../../src/s3/object-format.ts";
import { SingleMessageFormat } from "../../../src/s3/single-message/format.ts";

type Entries = Record<string, string>;
type Policy = (typeof policies)[number];

const policies = [
  "FORBID_ENCRYPT_ALLOW_DECRYPT",
  "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
] as const;
const bytes = (length: number, value = 7): string => Buffer.alloc(length, value).toString("base64");

/** Values that an attacker, or an old client, might write. The first ones are right. */
const values: Readonly<Record<string, readonly string[]>> = {
  "x-amz-key": [bytes(48), bytes(256), ""],
  "x-amz-key-v2": [bytes(60), bytes(256), "", "%%"],
  "x-amz-iv": [bytes(12), bytes(16), bytes(12, 0), bytes(13), ""],
  "x-amz-matdesc": ["{}", '{"a":"b"}', '{"a":1}', "[]", "x", ""],
  "x-amz-cek-alg": ["AES/GCM/NoPadding", "AES/CBC/PKCS5Padding", "AES/CTR/NoPadding", "115", ""],
  "x-amz-wrap-alg": [
    ...["AES/GCM", "RSA-OAEP-SHA1", "kms+context", "kms", "AESWrap", "AES", "RSA"],
    ...["RSA/ECB/OAEPWithSHA-256AndMGF1Padding", "aes/gcm", "12", ""],
  ],
  "x-amz-tag-len": ["128", "96", ""],
  "x-amz-unencrypted-content-length": ["5", ""],
  "x-amz-c": ["115", "114", "112", "0073", ""],
  "x-amz-3": [bytes(60), bytes(256), ""],
  "x-amz-w": ["02", "12", "22", "01", "11", "21", "2", ""],
  "x-amz-d": [bytes(28), bytes(27), bytes(32), ""],
  "x-amz-i": [bytes(28), bytes(28, 0), bytes(27), ""],
  "x-amz-m": ["{}", '{"a":"b"}', "null", ""],
  "x-amz-t": ['{"aws:x-amz-cek-alg":"115"}', "{}", '["a"]', ""],
};
const names = Object.keys(values);
const older = new Set(names.slice(0, 7));
const newer = new Set(names.slice(8));

/** The rules again: "reject", "policy" or what would be opened. */
function decide(
  metadata: Entries,
  file: Entries | undefined,
  policy: Policy,
  wraps: boolean,
  modes: boolean,
): string {
  const filled = (entries: Entries): Set<string> =>
    new Set(Object.keys(entries).filter((name) => entries[name] !== ""));
  const intersect = (a: Set<string>, b: Set<string>): boolean => [...a].some((name) => b.has(name));
  const m = filled(metadata);
  if (intersect(m, older) && intersect(m, newer)) return "reject";
  let all = metadata;
  if (m.has("x-amz-key") && m.has("x-amz-key-v2")) return "reject";
  if (!intersect(m, older)) {
    const split = intersect(m, newer);
    if (split && !["x-amz-c", "x-amz-d", "x-amz-i"].every((name) => m.has(name))) return "reject";
    if (!m.has("x-amz-3")) {
      if (split && ["x-amz-w", "x-amz-m", "x-amz-t"].some((name) => m.has(name))) return "reject";
      if (file === undefined) return split ? "reject" : "none";
      if (
        split &&
        Object.keys(file).some((name) => !["x-amz-3", "x-amz-w", "x-amz-m", "x-amz-t"].includes(name))
      )
        return "reject";
      if (!split && intersect(filled(file), newer)) return "reject";
      all = split ? { ...file, ...metadata } : file;
    }
  }
  const has = filled(all);
  const length = (name: string): number => {
    const value = all[name] ?? "";
    return /^[A-Za-z0-9+/]+={0,2}$/.test(value) ? Buffer.from(value, "base64").length : -1;
  };
  const zero = (name: string): boolean => Buffer.from(all[name] ?? "", "base64").every((byte) => byte === 0);
  const isMap = (name: string): boolean => {
    if (!has.has(name)) return true;
    try {
      const value = JSON.parse(all[name] ?? "");
      return (
        Object.prototype.toString.call(value) === "[object Object]" &&
        Object.values(value).every((each) => typeof each === "string")
      );
    } catch {
      return false;
    }
  };
  if (has.has("x-amz-c")) {
    const wrap = { "02": "AES/GCM", "12": "kms+context", "22": "RSA-OAEP-SHA1" }[all["x-amz-w"] ?? ""];
    const right =
      all["x-amz-c"] === "115" &&
      wrap !== undefined &&
      length("x-amz-3") > 0 &&
      length("x-amz-d") === 28 &&
      length("x-amz-i") === 28 &&
      !zero("x-amz-i") &&
      (wrap === "kms+context"
        ? has.has("x-amz-t") && !has.has("x-amz-m") && isMap("x-amz-t")
        : !has.has("x-amz-t") && isMap("x-amz-m"));
    return right ? `3 115 ${wrap}` : "reject";
  }
  const first = has.has("x-amz-key");
  if (first === has.has("x-amz-key-v2")) return "reject";
  if (first && ["x-amz-cek-alg", "x-amz-wrap-alg", "x-amz-tag-len"].some((name) => has.has(name)))
    return "reject";
  const gcm = !first && all["x-amz-cek-alg"] === "AES/GCM/NoPadding";
  if (!first && !gcm && all["x-amz-cek-alg"] !== "AES/CBC/PKCS5Padding") return "reject";
  const wrap = first ? (length("x-amz-key") > 48 ? "RSA" : "AES") : (all["x-amz-wrap-alg"] ?? "");
  if (!first && !(values["x-amz-wrap-alg"] ?? []).slice(0, 8).includes(wrap)) return "reject";
  if (gcm && has.has("x-amz-tag-len") && all["x-amz-tag-len"] !== "128") return "reject";
  if (
    length(first ? "x-amz-key" : "x-amz-key-v2") < 1 ||
    length("x-amz-iv") !== (gcm ? 12 : 16) ||
    zero("x-amz-iv")
  )
    return "reject";
  if (!isMap("x-amz-matdesc")) return "reject";
  if (policy === "REQUIRE_ENCRYPT_REQUIRE_DECRYPT") return "policy";
  if (!gcm && !modes) return "policy";
  if (!wraps && !["AES/GCM", "RSA-OAEP-SHA1", "kms+context"].includes(wrap)) return "policy";
  return `${first ? 1 : 2} ${gcm ? "gcm" : "cbc"} ${wrap}`;
}

/** What this package says. */
async function ours(
  metadata: Entries,
  file: Entries | undefined,
  format: SingleMessageFormat,
): Promise<string> {
  const never = () => Promise.reject(new Error("the body was read"));
  const body = file === undefined ? undefined : Buffer.from(JSON.stringify(file));
  const object: StoredObject = {
    location: { bucket: "b", key: "k" },
    metadata,
    storedLength: 21,
    source: {
      read: never,
      stream: never,
      fetchSideObject: async () => (body === undefined ? undefined : { metadata: {}, body }),
    },
  };
  try {
    if (!(await format.recognises(object))) return "none";
    const { version, content, wrap } = await format.readEnvelope(object);
    return `${version} ${content === "committing-gcm" ? "115" : content} ${wrap}`;
  } catch (error) {
    if (!(error instanceof FramesealError)) throw error;
    return error.code === "POLICY" ? "policy" : "reject";
  }
}

// A small generator, so that every run decides the same envelopes.
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const bases: readonly (readonly string[])[] = [
  ["x-amz-key", "x-amz-iv", "x-amz-matdesc"],
  ["x-amz-key-v2", "x-amz-iv", "x-amz-cek-alg", "x-amz-wrap-alg", "x-amz-matdesc", "x-amz-tag-len"],
  ["x-amz-c", "x-amz-3", "x-amz-w", "x-amz-d", "x-amz-i"],
  ["x-amz-c", "x-amz-d", "x-amz-i"],
  [],
];

test("at least 50,000 combinations of metadata, file, policy and gates are decided as the rules say", async () => {
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
  const formats = policies.flatMap((commitmentPolicy) =>
    [false, true].flatMap((enableLegacyWrappingAlgorithms) =>
      [false, true].map((enableLegacyUnauthenticatedModes) => {
        const gates = { commitmentPolicy, enableLegacyWrappingAlgorithms, enableLegacyUnauthenticatedModes };
        return { ...gates, format: new SingleMessageFormat(3, { keyring, ...gates }) };
      }),
    ),
  );
  const pick = random(4711);
  const choose = <T>(list: readonly T[]): T => list[pick(list.length)] as T;
  const outcomes = new Map<string, number>();
  let decided = 0;
  for (let round = 0; round < 6000; round++) {
    const fill = (chosen: readonly string[]): Entries =>
      Object.fromEntries(
        chosen.map((name) => [name, pick(10) < 7 ? (values[name]?.[0] ?? "") : choose(values[name] ?? [])]),
      );
    const metadata = fill(choose(bases));
    const fileBase = choose([...bases, ["x-amz-3", "x-amz-w"], ["x-amz-3", "x-amz-w", "x-amz-t"]]);
    const file = pick(3) === 0 ? undefined : fill(fileBase);
    for (let changes = pick(3); changes > 0; changes--) {
      const place = file !== undefined && pick(2) === 0 ? file : metadata;
      const name = choose(names);
      if (pick(3) === 0) delete place[name];
      else place[name] = choose(values[name] ?? []);
    }
    // CBC needs the longer IV more often than chance would have it.
    for (const place of [metadata, file])
      if (
        place?.["x-amz-iv"] !== undefined &&
        (place["x-amz-key"] !== undefined || place["x-amz-cek-alg"]?.includes("CBC")) &&
        pick(3) > 0
      )
        place["x-amz-iv"] = bytes(16);
    for (const {
      format,
      commitmentPolicy,
      enableLegacyWrappingAlgorithms: wraps,
      enableLegacyUnauthenticatedModes: modes,
    } of formats) {
      const expected = decide(metadata, file, commitmentPolicy, wraps, modes);
      const got = await ours(metadata, file, format);
      if (got !== expected)
        throw new Error(
          `${JSON.stringify({ metadata, file, commitmentPolicy, wraps, modes })}: ${got}, not ${expected}`,
        );
      decided += 1;
      outcomes.set(expected, (outcomes.get(expected) ?? 0) + 1);
    }
  }
  expect(decided).toBeGreaterThanOrEqual(50_000);
  // Every kind of envelope was among them, so that agreement means something.
  expect([...outcomes.keys()].filter((outcome) => /^[123]/.test(outcome)).length).toBeGreaterThanOrEqual(15);
  console.log(
    `downgrade table: ${decided} combinations, ${outcomes.size} kinds of outcome, all as the rules say`,
  );
});
