// Large files go up in parts, and a run that ends in the middle is gone on with by the next one: with the bytes that were
// sent, or, if the source is another by then, with a new message under a new data key.
import { randomBytes } from "node:crypto";
import { appendFileSync, closeSync, openSync, rmSync, truncateSync, utimesSync, writeSync } from "node:fs";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { BUCKET, clientsOf, manifestOf, put, type RunSettings, TemporaryTree } from "../support/put-run.ts";
import { type S3Call, S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const PART = 5 * 2 ** 20;
const content = randomBytes(2 * PART + 1000);
let server: S3Server;
let tree: TemporaryTree;
/** Stored bytes of every part that arrived, by upload and number. */
let arrived: Map<string, Buffer[]>;

beforeAll(async () => {
  server = await S3Server.start();
  server.onBody = ({ query }, body) => {
    if (!query.has("partNumber")) return;
    const name = `${query.get("uploadId")} ${query.get("partNumber")}`;
    arrived.set(name, [...(arrived.get(name) ?? []), body]);
  };
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60_000 });
  server.buckets.set(BUCKET, new Map());
  server.uploads.clear();
  server.fault = () => undefined;
  arrived = new Map();
  tree = new TemporaryTree({ big: content });
});
afterEach(() => {
  // Whatever happened: no two plaintexts under one key and nonce, so no two stored bytes for one part.
  for (const [name, bodies] of arrived)
    for (const body of bodies) expect(body.equals(bodies[0] ?? body), name).toBe(true);
  tree[Symbol.dispose]();
  vi.useRealTimers();
});

const run = (settings: RunSettings = {}) => put(server, tree.root, { journal: tree.journal, ...settings });
async function asked(settings: RunSettings = {}) {
  const from = server.calls.length;
  const done = await run(settings);
  return {
    ...done,
    calls: server.calls
      .slice(from)
      .filter(({ key }) => !key.includes("/probe-"))
      .map(kindOf),
  };
}
function kindOf({ method, query, key }: S3Call): string {
  if (query.has("uploads")) return method === "POST" ? "create" : "LIST uploads";
  if (query.has("partNumber")) return `part ${query.get("partNumber")}`;
  if (query.has("uploadId"))
    return { POST: "complete", DELETE: "abort", GET: "list parts" }[method] ?? method;
  return `${method} ${key}`;
}
const ofParts = (calls: readonly string[]) =>
  calls.filter((call) => /create|part|complete|abort/.test(call)).sort();
async function stored(key = "p/big"): Promise<Buffer> {
  const { client } = clientsOf(server, undefined);
  const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}
/** A run that is aborted when part `number` arrives; it does not take effect. */
async function interrupted(number: number, settings: RunSettings = {}): Promise<void> {
  const abort = new AbortController();
  server.fault = ({ query }) => {
    if (query.get("partNumber") !== String(number)) return undefined;
    abort.abort(new Error("interrupted"));
    return { kind: "reset" };
  };
  await expect(run({ signal: abort.signal, transfers: 1, ...settings })).rejects.toThrow("interrupted");
  server.fault = () => undefined;
}

describe("a large file", () => {
  test("is sent in parts, and is what it was", async () => {
    const { calls, result } = await asked();
    expect(ofParts(calls)).toEqual(["complete", "create", "part 1", "part 2", "part 3"]);
    expect((await stored()).equals(content)).toBe(true);
    expect(result).toMatchObject({ sent: 1, sentBytes: content.length, uploadsLeft: 0 });
    expect((await manifestOf(server)).entries.get("big")?.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(ofParts((await asked()).calls)).toEqual([]);
  });
  test.each([
    ["as long as two parts", 2 * PART],
    ["a byte longer than a part", PART + 1],
    ["as long as a part", PART],
  ])("that is %s", async (_, length) => {
    truncateSync(tree.at("big"), length);
    expect((await run()).result.failed).toBe(0);
    expect((await stored()).equals(content.subarray(0, length))).toBe(true);
  });
  test("goes as a stream without a journal, and leaves nothing when it fails", async () => {
    server.fault = ({ query }) =>
      query.get("partNumber") === "3" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    expect((await run({ journal: undefined })).result.failed).toBe(1);
    expect(server.uploads.size).toBe(0);
    server.fault = () => undefined;
    expect((await run({ journal: undefined })).result.failed).toBe(0);
    expect((await stored()).equals(content)).toBe(true);
  });
  test("is known by its ETag, where the answer to the last request lacks that", async () => {
    const onClient = (plain: sdk.S3Client): void =>
      plain.middlewareStack.add(
        (next, { commandName }) =>
          async (args) => {
            const result = await next(args);
            if (commandName === "CompleteMultipartUploadCommand")
              Reflect.deleteProperty(result.output, "ETag");
            return result;
          },
        { step: "initialize" },
      );
    for (const journal of [tree.journal, undefined]) {
      utimesSync(tree.at("big"), 2e9, journal === undefined ? 2e9 : 1e9);
      expect((await run({ onClient, journal })).result).toMatchObject({ sent: 1, failed: 0 });
      const { eTag } = server.object(BUCKET, "p/big");
      expect((await manifestOf(server)).entries.get("big")?.eTag).toBe(eTag);
    }
  });
  test("waits for its turn beside others", async () => {
    for (let at = 0; at < 4; at++) tree.write(`more/${at}`, content.subarray(at, PART + 10 + at));
    expect((await run()).result).toMatchObject({ sent: 5, failed: 0 });
    for (let at = 0; at < 4; at++)
      expect((await stored(`p/more/${at}`)).equals(content.subarray(at, PART + 10 + at))).toBe(true);
  });
  test("whose parts fail is sent with the same bytes again", async () => {
    let failures = 3;
    server.fault = ({ query }) =>
      query.get("partNumber") === "2" && failures-- > 0
        ? { kind: "error", status: 503, code: "SlowDown", after: failures === 1 }
        : undefined;
    expect((await run({ retries: 5 })).result.failed).toBe(0);
    expect((await stored()).equals(content)).toBe(true);
  });
});

describe("a run that ends in the middle", () => {
  test("is gone on with: what S3 has is not sent again", async () => {
    await interrupted(2);
    expect(server.uploads.size).toBe(1);
    const { calls, result } = await asked();
    expect(ofParts(calls)).toEqual(["complete", "list parts", "part 2", "part 3"]);
    expect((await stored()).equals(content)).toBe(true);
    expect(server.uploads.size).toBe(0);
    expect(result.uploadsLeft).toBe(0);
  });
  test("before its first part", async () => {
    await interrupted(1);
    await run();
    expect((await stored()).equals(content)).toBe(true);
    expect(server.uploads.size).toBe(0);
  });
  test("several times", async () => {
    for (const number of [2, 3]) await interrupted(number);
    const { calls } = await asked();
    expect(ofParts(calls)).toEqual(["complete", "list parts", "part 3"]);
    expect((await stored()).equals(content)).toBe(true);
  });
  test("while it was completed", async () => {
    const abort = new AbortController();
    server.fault = (call) => {
      if (kindOf(call) !== "complete") return undefined;
      abort.abort(new Error("interrupted"));
      return { kind: "reset", after: true };
    };
    await expect(run({ signal: abort.signal })).rejects.toThrow("interrupted");
    server.fault = () => undefined;
    expect((await run()).result.failed).toBe(0);
    expect((await stored()).equals(content)).toBe(true);
    expect(server.uploads.size).toBe(0);
  });

  /** Writes over the file, as it was in all that the system tells but its change. */
  function overwrite(position: number, bytes: Uint8Array): void {
    const descriptor = openSync(tree.at("big"), "r+");
    writeSync(descriptor, bytes, 0, bytes.length, position);
    closeSync(descriptor);
    utimesSync(tree.at("big"), 1e9 + 0.25, 1e9 + 0.25);
  }
  test.each<[string, () => Buffer]>([
    [
      "what was sent is another, and its time the same",
      () => {
        overwrite(10, Buffer.from("other"));
        return Buffer.concat([content.subarray(0, 10), Buffer.from("other"), content.subarray(15)]);
      },
    ],
    [
      "a part that was sealed and not sent is another",
      () => {
        overwrite(PART + 10, Buffer.from("other"));
        const at = PART + 10;
        return Buffer.concat([content.subarray(0, at), Buffer.from("other"), content.subarray(at + 5)]);
      },
    ],
    [
      "its time is another",
      () => {
        utimesSync(tree.at("big"), 2e9, 2e9);
        return content;
      },
    ],
    [
      "it is longer",
      () => {
        appendFileSync(tree.at("big"), "more");
        return Buffer.concat([content, Buffer.from("more")]);
      },
    ],
    [
      "it is shorter",
      () => {
        truncateSync(tree.at("big"), PART + 5);
        return content.subarray(0, PART + 5);
      },
    ],
    [
      "it is short",
      () => {
        truncateSync(tree.at("big"), 5);
        return content.subarray(0, 5);
      },
    ],
  ])("begins anew when %s", async (_, change) => {
    await interrupted(2);
    const [before] = [...server.uploads.keys()];
    const expected = change();
    expect((await run()).result).toMatchObject({ failed: 0, uploadsLeft: 0 });
    expect((await stored()).equals(expected)).toBe(true);
    expect(server.uploads.size).toBe(0);
    const again = [...arrived.keys()].filter((name) => !name.startsWith(`${before} `));
    if (expected.length > PART) expect(again.length).toBeGreaterThan(0);
  });
  test("begins anew when the bucket does not know the upload any more", async () => {
    await interrupted(2);
    server.uploads.clear();
    expect((await run()).result.failed).toBe(0);
    expect((await stored()).equals(content)).toBe(true);
  });
  test("begins anew with another key", async () => {
    await interrupted(2);
    const other = new Uint8Array(32).fill(9);
    expect((await run({ wrappingKey: other })).result).toMatchObject({ failed: 0, uploadsLeft: 0 });
    expect(server.uploads.size).toBe(0);
  });
  test("leaves nothing of a file that is gone, or not to be stored any more", async () => {
    await interrupted(2);
    expect((await run({ filters: [{ kind: "exclude", pattern: "big" }] })).result.uploadsLeft).toBe(0);
    expect(server.uploads.size).toBe(0);
    await interrupted(2);
    rmSync(tree.at("big"));
    await run();
    expect(server.uploads.size).toBe(0);
  });
  test("tells what it leaves", async () => {
    const abort = new AbortController();
    server.fault = ({ query }) => {
      if (query.get("partNumber") === "2") abort.abort(new Error("interrupted"));
      return undefined;
    };
    const warnings: string[] = [];
    const report = run({ signal: abort.signal, transfers: 1, onWarning: (text) => warnings.push(text) });
    await expect(report).rejects.toThrow("interrupted");
    expect(warnings.join()).toMatch(/one large file is half sent/);
  });
});

describe("a file that is changed while it is read", () => {
  test.each<[string, () => void]>([
    ["grows", () => appendFileSync(tree.at("big"), "more")],
    ["is cut off", () => truncateSync(tree.at("big"), PART + 5)],
    ["is written to", () => utimesSync(tree.at("big"), 3e9, 3e9)],
  ])("once is read again: it %s", async (_, change) => {
    let changes = 1;
    server.fault = ({ query }) => {
      if (query.get("partNumber") === "2" && changes-- > 0) change();
      return undefined;
    };
    expect((await run({ transfers: 1 })).result.failed).toBe(0);
    const { readFileSync } = await import("node:fs");
    expect((await stored()).equals(readFileSync(tree.at("big")))).toBe(true);
    expect(server.uploads.size).toBe(0);
  });
  test("all the time fails, and leaves nothing", async () => {
    let time = 3e9;
    server.fault = ({ query }) => {
      if (query.get("partNumber") === "2") utimesSync(tree.at("big"), time, time++);
      return undefined;
    };
    const { report, result } = await run();
    expect(result).toMatchObject({ failed: 1, uploadsLeft: 0 });
    expect(String(report.items[0]?.error)).toContain("changed while it was read");
    expect(server.uploads.size).toBe(0);
  });
});
