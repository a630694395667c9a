// Listings of trees: all of it or a level, in the order of the keys, page by page; without what is reserved; and servers
// that list what cannot be.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type ListRequest, listLevel, listTree } from "../../src/backup/list-tree.ts";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { S3Server } from "../support/s3-server.ts";

const Bucket = "bucket";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const abort = new AbortController();
let server: S3Server;
beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new sdk.CreateBucketCommand({ Bucket }));
  const client = encryptS3Client(server.client(), { keyring });
  for (const [key, length] of Object.entries(lengths))
    await client.send(new sdk.PutObjectCommand({ Bucket, Key: key, Body: Buffer.alloc(length) }));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});
afterEach(() => {
  server.fault = () => undefined;
});

const lengths: Readonly<Record<string, number>> = {
  "p/.frameseal/runs/00000001": 9,
  "p/.framesealed": 1,
  "p/a": 1000,
  "p/a b+c&<%41\u0001\r\n\u202e": 5,
  "p/a/b": 70_000,
  "p/a/c/d": 2,
  "p/é": 0,
  "q/a": 3,
};

type Sent = Pick<sdk.S3Client, "send">;
function requestOf(more: Partial<ListRequest> = {}): ListRequest {
  const client = encryptS3Client(server.client(), { keyring });
  return { sdk, client, address: { bucket: Bucket, prefix: "p/" }, signal: abort.signal, ...more };
}
async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}
/** A client that answers listings with these, one after the other. */
const answering = (...answers: object[]): Sent =>
  ({ send: async () => answers.shift() ?? answers.at(-1) }) as unknown as Sent;

test("all of a tree, with the sizes of plaintexts", async () => {
  const listed = await all(listTree(requestOf()));
  const keys = Object.keys(lengths).filter((key) => key.startsWith("p/") && !key.includes(".frameseal/"));
  expect(listed.map(({ key }) => key)).toEqual(
    keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
  for (const { key, name, size, eTag } of listed)
    expect([name, size, eTag], key).toEqual([key.slice(2), lengths[key], server.object(Bucket, key).eTag]);
});

test("with what is reserved, where that is asked for", async () => {
  const listed = await all(listTree(requestOf({ all: true })));
  expect(listed[0]).toMatchObject({ key: "p/.frameseal/runs/00000001", size: 9 });
});

test("a level of it", async () => {
  const listed = await all(listLevel(requestOf()));
  expect(listed.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
    "object .framesealed",
    "object a",
    `object ${"a b+c&<%41\u0001\r\n\u202e"}`,
    "folder a/",
    "object é",
  ]);
  expect(await all(listLevel(requestOf({ address: { bucket: Bucket, prefix: "" } })))).toMatchObject([
    { kind: "folder", key: "p/" },
    { kind: "folder", key: "q/" },
  ]);
});

test("page by page, the next one while one is read", async () => {
  const many = "many/";
  const objects = server.buckets.get(Bucket);
  const one = server.object(Bucket, "p/a");
  for (let number = 0; number < 2500; number++)
    objects?.set(`${many}${String(number).padStart(5, "0")}`, one);
  const address = { bucket: Bucket, prefix: many };
  const listed = await all(listTree(requestOf({ client: server.client(), address })));
  expect(listed.map(({ name }) => Number(name))).toEqual(Array.from({ length: 2500 }, (_, number) => number));
});

const answer = (token: string) => ({ IsTruncated: true, NextContinuationToken: token, Contents: [] });

test.each<[string, object[]]>([
  ["keys that do not begin with the prefix", [{ Contents: [{ Key: "q/a", Size: 1 }] }]],
  ["keys that are no UTF-8", [{ EncodingType: "url", Contents: [{ Key: "p/%ff", Size: 1 }] }]],
  ["no sizes", [{ Contents: [{ Key: "p/a" }] }]],
  ["sizes that are none", [{ Contents: [{ Key: "p/a", Size: -1 }] }]],
  ["no way to go on", [{ IsTruncated: true, Contents: [] }]],
  [
    "a circle of two",
    Array(9)
      .fill([answer("a"), answer("b")])
      .flat(),
  ],
  ["nothing for ever", Array.from({ length: 200 }, (_, page) => answer(`${page}`))],
  ["the page of something else", [{}]],
  ["a circle", Array(9).fill({ IsTruncated: true, NextContinuationToken: "x", Contents: [] })],
])("a server that gives %s is refused", async (_, answers) => {
  const request = requestOf({ client: answering(...answers) });
  await expect(all(listTree(request))).rejects.toMatchObject({ code: "UNSUPPORTED" });
});

test("a page that fails fails the listing, and an abort ends it", async () => {
  server.fault = ({ query }) =>
    query.has("list-type") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  await expect(all(listTree(requestOf()))).rejects.toMatchObject({ name: "AccessDenied" });
  const aborted = AbortSignal.abort(new Error("enough"));
  await expect(all(listTree(requestOf({ signal: aborted })))).rejects.toMatchObject({ code: "ABORTED" });
});
