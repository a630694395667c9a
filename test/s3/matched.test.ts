// Conditions on ETags at a server that compares them as text without quotes: met where they hold, refused where not, never
// left out.
import { randomBytes } from "node:crypto";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { reencryptObject } from "../../src/s3/reencrypt.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../src/s3.ts";
import { readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";

const keyOf = (keyName: string) =>
  new RawAesKeyring({ keyNamespace: "n", keyName, wrappingKey: randomBytes(32) });
const [from, to] = [keyOf("1"), keyOf("2")];
const location = { bucket: "b", key: "k" };
const small = randomBytes(1000);
const large = randomBytes(9 * 2 ** 20);

let server: S3Server;
beforeEach(async () => {
  server = await S3Server.start();
  server.buckets.set("b", new Map());
  server.kind = "ceph-rgw";
});
afterEach(() => server[Symbol.asyncDispose]());

const put = (Body: Uint8Array, more: Partial<EncryptS3ClientOptions> = {}, fields: object = {}) =>
  encryptS3Client(server.client(), { keyring: from, ...more }).send(
    new PutObjectCommand({ Bucket: "b", Key: "k", Body, ...fields }),
  );
const read = (keyring = to) =>
  readObject(encryptS3Client(server.client(), { keyring }), { Bucket: "b", Key: "k" });
const changes = () =>
  server.calls.filter(({ method, query }) => /^P/.test(method) && !/uploads|partNumber/.test(String(query)));

const ways = { rewrap: rewrapObject, reencrypt: reencryptObject } as const;
const bodies = { small, large } as const;
const cells = (["rewrap", "reencrypt"] as const).flatMap((way) =>
  (["small", "large"] as const).map((size) => [way, size] as const),
);

test.each(cells)("%s, %s: the second attempt has the condition too, others need one", async (way, size) => {
  const client = server.client();
  await put(bodies[size]);
  server.calls.length = 0;
  const result = await ways[way](client, location, { from, to });
  expect(result.eTag).toBe(server.object("b", "k").eTag);
  expect((await read()).equals(bodies[size])).toBe(true);
  const matches = () => changes().map(({ headers }) => headers["if-match"]);
  const previous = String(result.previousETag);
  expect(matches()).toEqual([previous, previous.slice(1, -1)]);
  await ways[way](client, location, { from: to, to: from });
  expect(matches().slice(2)).toEqual([String(result.eTag).slice(1, -1)]);
  expect(server.uploads.size).toBe(0);
});

test.each(cells)("%s, %s: what was replaced meanwhile stays", async (way, size) => {
  await put(bodies[size]);
  let replaced = false;
  server.delay = async ({ method, headers }) => {
    if (!method.startsWith("P") || headers["if-match"] === undefined || replaced) return;
    replaced = true;
    await put(Buffer.from("newer"));
  };
  await expect(ways[way](server.client(), location, { from, to })).rejects.toMatchObject({
    name: "PreconditionFailed",
  });
  expect((await read(from)).toString()).toBe("newer");
  expect(server.uploads.size).toBe(0);
});

test("who may not see the object gets the refusal", async () => {
  const { ETag } = await put(small);
  server.fault = ({ method }) =>
    method === "HEAD" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  await expect(put(large.subarray(0, 10), {}, { IfMatch: ETag })).rejects.toMatchObject({
    name: "PreconditionFailed",
  });
  expect((await read(from)).equals(small)).toBe(true);
});

test("an instruction file is stored over the one that was seen", async () => {
  const options = { format: "s3ec-v3", instructionFiles: "write" } as const;
  await put(small, options);
  await put(large.subarray(0, 500), options);
  expect((await read(from)).equals(large.subarray(0, 500))).toBe(true);
  expect(server.object("b", "k").headers).not.toHaveProperty("x-amz-meta-x-amz-3");
  const result = await rewrapObject(server.client(), location, { from, to });
  expect(result.change).toBe("instruction-file");
  expect((await read()).equals(large.subarray(0, 500))).toBe(true);
});
