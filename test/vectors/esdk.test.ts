// Every message of every set decrypts or is refused as its manifest says: whole, streamed in chunks of several sizes,
// and by ranges; on each engine that works here.
import { expect, test } from "vitest";
import {
  createDecryptStream,
  decrypt,
  type FramesealError,
  inspectHeader,
  type MessageReader,
  openMessage,
} from "../../src/index.ts";
import { deriveKeys } from "../../src/message/derive-keys.ts";
import { cut, engineNames, errorCode, runStream, seededRandom } from "../message/fixtures.ts";
import { FULL } from "../support/full.ts";
import { allSets, commitmentSet, parseOnlySet, type VectorCase } from "./esdk-sets.ts";
import { describeVectors } from "./foreign.ts";

const CHUNKS = [1, 7, 4_095, 65_537];
const READ_ALL = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;

function groupBySet(vectors: readonly VectorCase[]): Map<string, VectorCase[]> {
  const groups = new Map<string, VectorCase[]>();
  for (const vector of vectors) groups.set(vector.set, [...(groups.get(vector.set) ?? []), vector]);
  return groups;
}

/** "ok", or what went wrong. */
async function attempt(vector: VectorCase, work: () => Promise<Uint8Array>): Promise<string> {
  let got: string;
  try {
    const plaintext = await work();
    if ("code" in vector.expected) return "was accepted";
    return vector.expected.plaintext.equals(plaintext) ? "ok" : "wrong plaintext";
  } catch (error) {
    got = errorCode(error);
    if ("code" in vector.expected && vector.expected.code === got) return "ok";
    return `${got}: ${(error as Error).message}`;
  }
}

async function streamed(vector: VectorCase, engine: string, length: number): Promise<Uint8Array> {
  const options = { keyring: vector.keyring, encryptionContext: vector.context, engine, ...READ_ALL };
  const log = await runStream(createDecryptStream(options), cut(vector.message, length));
  if (log.error === undefined && !log.ended) throw new Error("neither an error nor an end");
  if (log.error !== undefined) {
    if (log.ended) throw new Error("ended after an error");
    if ("code" in vector.expected && log.output.length > 0)
      throw new Error("released bytes of a refused message");
    throw log.error;
  }
  return log.output;
}

async function ranged(vector: VectorCase, engine: string): Promise<Uint8Array> {
  const { suite } = inspectHeader(vector.message);
  const signed = suite.signature !== "none";
  const options = { keyring: vector.keyring, encryptionContext: vector.context, engine, ...READ_ALL };
  if (signed) {
    const refusal = await openMessage(vector.message, options).then(
      () => "accepted",
      (error: FramesealError) => error.code,
    );
    if (refusal !== "POLICY") throw new Error(`ranges of a signed message: ${refusal}`);
  }
  const reader: MessageReader = await openMessage(vector.message, {
    ...options,
    signedMessages: signed ? "unverified" : "refuse",
  });
  try {
    const { plaintextLength } = reader;
    const whole = await reader.read(0, plaintextLength);
    const random = seededRandom(vector.message.length);
    for (let i = 0; i < 5 && plaintextLength > 0; i++) {
      const start = Math.floor(random() * plaintextLength);
      const end = start + 1 + Math.floor(random() * (plaintextLength - start));
      const part = await reader.read(start, end);
      if (!part.equals(whole.subarray(start, end))) throw new Error(`wrong range ${start} to ${end}`);
    }
    return whole;
  } finally {
    await reader.close();
  }
}

const describeMessages = (engine: string) => (): void => {
  const vectors = allSets().filter((vector) => !vector.needsPkcs1);
  const bySet = groupBySet(vectors);

  test.each([...bySet])(
    "set %s, whole, streamed and by ranges",
    { timeout: 120_000 },
    async (set, members) => {
      const failures: string[] = [];
      const counts = new Map<string, [number, number]>();
      const note = (how: string, vector: VectorCase, result: string): void => {
        const [good, all] = counts.get(how) ?? [0, 0];
        counts.set(how, [good + (result === "ok" ? 1 : 0), all + 1]);
        if (result !== "ok") failures.push(`${vector.id} ${how}: ${result}`);
      };
      for (const vector of members) {
        const options = { keyring: vector.keyring, encryptionContext: vector.context, engine, ...READ_ALL };
        const whole = await attempt(vector, async () => {
          const { plaintext, header } = await decrypt(vector.message, options);
          if (vector.suite !== undefined) expect(header.suite.id).toBe(vector.suite);
          for (const [key, value] of Object.entries(vector.headerContext ?? {}))
            expect(header.encryptionContext[key]).toBe(value);
          return plaintext;
        });
        note("whole", vector, whole);
        for (const length of CHUNKS) {
          if (length < 100 && vector.message.length > 100_000 && !FULL) continue;
          note(`chunks of ${length}`, vector, await attempt(vector, () => streamed(vector, engine, length)));
        }
        if (!isNonFramed(vector.message))
          note("ranges", vector, await attempt(vector, () => ranged(vector, engine)));
        else note("ranges refused", vector, await rangesRefused(vector, engine));
      }
      const summary = [...counts].map(([how, [good, all]]) => `${how} ${good} of ${all}`).join(", ");
      console.log(`vectors ${set}, engine ${engine}: ${summary}`);
      expect(failures).toEqual([]);
    },
  );
};
for (const engine of engineNames)
  describeVectors(`foreign messages, engine ${engine}`, describeMessages(engine));

function isNonFramed(message: Buffer): boolean {
  try {
    return inspectHeader(message).contentType === "non-framed";
  } catch {
    return false;
  }
}

async function rangesRefused(vector: VectorCase, engine: string): Promise<string> {
  const options = { keyring: vector.keyring, engine, signedMessages: "unverified", ...READ_ALL } as const;
  try {
    await openMessage(vector.message, options);
    return "was accepted";
  } catch (error) {
    return errorCode(error) === "UNSUPPORTED" ? "ok" : errorCode(error);
  }
}

describeVectors("the sets", () => {
  test("have as many messages as their source says", () => {
    const count = Object.fromEntries(
      [...groupBySet(allSets())].map(([set, members]) => [
        set,
        [
          members.filter(({ expected }) => "plaintext" in expected).length,
          members.filter(({ expected }) => "code" in expected).length,
        ],
      ]),
    );
    expect(count).toEqual({
      "kat-commitment": [35, 11],
      "c-from-dafny-4.1.0": [187, 0],
      "c-from-dafny raw-ecdh": [0, 99],
      "c-tests-data": [1, 5],
      "python-perf": [8, 0],
      "js-5.0.2": [47, 0],
    });
    const total = allSets().length;
    console.log(`vectors: ${total} messages in all, ${parseOnlySet().length} more to parse`);
  });

  test("messages of suites without commitment are refused by the default policy", async () => {
    const vectors = allSets().filter(({ suite, set }) => (suite ?? 0x400) < 0x400 && !set.includes("ecdh"));
    expect(vectors.length).toBeGreaterThan(100);
    for (const { message, keyring, context } of vectors)
      await expect(decrypt(message, { keyring, encryptionContext: context })).rejects.toMatchObject({
        code: "POLICY",
      });
  });

  test("messages with a required encryption context need it", async () => {
    let needed = 0;
    for (const { message, keyring, context, set, needsPkcs1 } of allSets()) {
      if (set !== "c-from-dafny-4.1.0" || needsPkcs1 || Object.keys(context).length === 0) continue;
      const stored = inspectHeader(message).encryptionContext;
      if (Object.keys(context).every((key) => Object.hasOwn(stored, key))) continue;
      needed += 1;
      await expect(decrypt(message, { keyring, ...READ_ALL })).rejects.toMatchObject({
        name: "FramesealError",
      });
      const [key = ""] = Object.keys(context);
      const wrong = { ...context, [key]: `${context[key]}x` };
      await expect(
        decrypt(message, { keyring, encryptionContext: wrong, ...READ_ALL }),
      ).rejects.toMatchObject({
        name: "FramesealError",
      });
    }
    console.log(`vectors: ${needed} messages need pairs that they do not store`);
    expect(needed).toBeGreaterThan(10);
  });

  test("the commitment set's keys are derived as it says", () => {
    let keys = 0;
    let matching = 0;
    const cases = commitmentSet();
    for (const { message, dataKey, commitment, messageId, contentEncryptionKey, commits, id } of cases) {
      const header = inspectHeader(message);
      expect(Buffer.from(header.messageId).equals(messageId)).toBe(true);
      const derived = deriveKeys(header.suite, dataKey, header.messageId);
      const matches = Buffer.from(derived.commitment).equals(Buffer.from(header.commitment));
      expect(matches).toBe(commits);
      if (matches) expect(Buffer.from(derived.commitment).equals(commitment)).toBe(true);
      if (contentEncryptionKey !== undefined) {
        keys += 1;
        // Of a message built for two data keys, the set gives the message key of the other one.
        const equal = Buffer.from(derived.messageKey()).equals(contentEncryptionKey);
        expect(equal).toBe(!id.includes("Two different plaintext data keys"));
        matching += equal ? 1 : 0;
      }
      derived.dispose();
    }
    expect(cases.length).toBe(46);
    expect([keys, matching]).toEqual([21, 17]);
    console.log(
      `vectors kat-commitment: ${cases.length} commitments, ${keys} of 21 message keys (4 of the other data key, as meant)`,
    );
  });

  test("headers and frames of messages whose keys are not at hand parse as their index says", () => {
    const cases = parseOnlySet();
    for (const vector of cases) {
      const { message } = vector;
      const header = inspectHeader(message);
      expect(header.suite.id).toBe(vector.suite);
      expect(header.contentType).toBe(vector.contentType === 2 ? "framed" : "non-framed");
      expect(header.frameLength).toBe(vector.frameLength);
      expect(header.encryptedDataKeys.length).toBe(vector.encryptedDataKeys);
      expect(header.encryptedDataKeys[0]?.providerId).toBe("aws-kms");
      const keys = Object.keys(header.encryptionContext).filter((key) => key !== "aws-crypto-public-key");
      expect(keys.sort()).toEqual(
        [...vector.contextKeys].filter((key) => key !== "aws-crypto-public-key").sort(),
      );
      let at = header.headerLength;
      let plaintextLength = 0;
      if (header.contentType === "non-framed") {
        plaintextLength = Number(message.readBigUInt64BE(at + 12));
        at += 36 + plaintextLength;
      } else {
        let sequence = 1;
        for (; message.readUInt32BE(at) !== 0xffffffff; sequence++) {
          expect(message.readUInt32BE(at)).toBe(sequence);
          at += header.frameLength + 32;
          plaintextLength += header.frameLength;
        }
        expect(message.readUInt32BE(at + 4)).toBe(sequence);
        const finalLength = message.readUInt32BE(at + 20);
        expect(finalLength).toBeLessThanOrEqual(header.frameLength);
        plaintextLength += finalLength;
        at += 40 + finalLength;
      }
      expect(plaintextLength).toBe(10_240);
      if (header.suite.signature !== "none") at += 2 + message.readUInt16BE(at);
      expect(at).toBe(message.length);
    }
    expect(cases.length).toBe(45);
    console.log(`vectors python-1.3.5-parse-only: ${cases.length} of 45 headers and bodies parsed`);
  });
});
