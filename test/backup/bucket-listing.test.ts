// Listings of a prefix: every object once and in the order of keys, however the listing is cut and whatever keys are made
// of; and a server that lists wrongly is refused.
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type BucketEntry, listBucket } from "../../src/backup/bucket-listing.ts";
import { compareKeys } from "../../src/backup/key-order.ts";
import { KeyTags } from "../../src/backup/key-tags.ts";
import { createTransferQueue } from "../../src/backup/transfer/queue.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const bucket = "bucket";
let server: S3Server;
beforeAll(async () => {
  server = await S3Server.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  server.buckets.set(bucket, new Map());
  server.fault = () => undefined;
});

async function store(...keys: readonly string[]): Promise<void> {
  const [first = ""] = keys;
  await server.client().send(new sdk.PutObjectCommand({ Bucket: bucket, Key: first, Body: "x" }));
  const object = server.object(bucket, first);
  for (const key of keys) server.buckets.get(bucket)?.set(key, object);
}
type Change = (output: sdk.ListObjectsV2CommandOutput) => void;
async function list(cuts: readonly string[] = [], change: Change = () => {}): Promise<BucketEntry[]> {
  const plain = server.client({ maxAttempts: 1 });
  plain.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      change(result.output as sdk.ListObjectsV2CommandOutput);
      return result;
    },
    { step: "initialize" },
  );
  const { signal } = new AbortController();
  const queue = createTransferQueue({ maxInFlight: 8, memory: 2 ** 26, retries: 0, signal });
  const found: BucketEntry[] = [];
  for await (const page of listBucket({ sdk, plain, queue, address: { bucket, prefix: "p/" } }, cuts))
    found.push(...page);
  return found;
}
const numbered = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `p/${String(at).padStart(5, "0")}`);

describe("a listing", () => {
  test("has keys of any characters, in the order of their bytes, without what is reserved or beside", async () => {
    const odd = [
      "a b",
      "a+b",
      "a%20b",
      "&<>\"'",
      "\n\t\u0001",
      "\u{1f600}",
      "\uff01",
      "ü",
      "u\u0308",
      "x/",
      "</Key>",
      "&amp;",
    ];
    await store(...odd.map((name) => `p/${name}`), "p/.frameseal/runs/1", "p", "q/x", "o/x");
    const found = await list();
    const expected = odd
      .map((name) => `p/${name}`)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(found.map(({ key }) => key)).toEqual(expected);
    const { eTag, body } = server.object(bucket, "p/x/");
    for (const { tag, storedSize } of found) {
      expect(tag).toBe(eTag.replaceAll('"', ""));
      expect(storedSize).toBe(body.length);
    }
  });
  test("of nothing is empty", async () => expect(await list()).toEqual([]));

  const all = numbered(3500);
  test.each<[string, readonly string[], number]>([
    ["without cuts", [], 4],
    ["at pages", ["p/00999", "p/01999", "p/02999"], 4],
    ["at keys that are not there", ["p/00999x", "p/01500", "p/9"], 6],
    ["in disorder", ["p/02000", "p/01000", "p/02000", "p/03000"], 5],
    ["before and behind all", ["a", "z"], 6],
  ])("is whole when it is cut %s", async (_, cuts, requests) => {
    await store(...all);
    const from = server.calls.length;
    expect((await list(cuts)).map(({ key }) => key)).toEqual(all);
    expect(server.calls.length - from).toBeLessThanOrEqual(requests);
  });
  test("asks for several ranges at the same time", async () => {
    await store(...all);
    let [now, most] = [0, 0];
    server.delay = async () => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 5));
      now -= 1;
    };
    await list(["p/00999", "p/01999", "p/02999"]);
    server.delay = async () => {};
    expect(most).toBeGreaterThan(1);
  });
  test.each<[string, RegExp, Change]>([
    [
      "says that it goes on and not where",
      /how it goes on/,
      (output) => {
        Object.assign(output, { IsTruncated: true, NextContinuationToken: undefined });
      },
    ],
    [
      "is none",
      /is no listing/,
      (output) => {
        Object.assign(output, { IsTruncated: undefined, Contents: undefined });
      },
    ],
    [
      "goes on with nothing",
      /in a circle/,
      (output) => {
        if (output.NextContinuationToken === undefined)
          Object.assign(output, { IsTruncated: true, NextContinuationToken: "aa" });
      },
    ],
    [
      "shows sizes that are none",
      /has no sizes/,
      (output) => {
        Object.assign(output, { Contents: [{ Key: "p/x", ETag: "e", Size: -(2 ** 50) }] });
      },
    ],
    [
      "shows a key of elsewhere",
      /do not begin with the prefix/,
      (output) => {
        Object.assign(output, { Contents: [{ Key: "q/x", ETag: "e", Size: 1 }] });
      },
    ],
    [
      "shows a key twice",
      /another order/,
      (output) => {
        Object.assign(output, { Contents: [{ Key: "p/00000", ETag: "e", Size: 1 }] });
      },
    ],
    [
      "shows what is no UTF-8",
      /no UTF-8/,
      (output) => {
        Object.assign(output, { Contents: [{ Key: "p/%ff", ETag: "e", Size: 1 }] });
      },
    ],
  ])("that %s is refused", async (_, text, change) => {
    await store(...numbered(2));
    await expect(list([], change)).rejects.toThrow(text);
  });
});

test("keys compare as their bytes do", () => {
  const keys = [
    "",
    "a",
    "ab",
    "b",
    "\uffff",
    "\u{10000}",
    "\u{10ffff}",
    "\ud7ff",
    "\ue000",
    "a\u{1f600}",
    "a\uffff",
  ];
  for (const a of keys)
    for (const b of keys)
      expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
});

test("a hundred thousand keys keep their tags", () => {
  const tags = new KeyTags();
  let wrong = 0;
  for (let at = 0; at < 100_000; at++) if (!tags.set(`key ${at}`, `tag ${at % 7}`)) wrong++;
  expect(tags.set("key 5", "other")).toBe(false);
  for (let at = 0; at < 100_000; at++) {
    if (!tags.has(`key ${at}`) || tags.has(`key ${at}.`)) wrong++;
    if (tags.hasTag(`key ${at}`, at === 5 ? "other" : `tag ${at % 7}`) !== true) wrong++;
    if (tags.hasTag(`key ${at}`, "tag 8")) wrong++;
  }
  expect(wrong).toBe(0);
});
