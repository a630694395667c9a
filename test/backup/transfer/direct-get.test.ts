// Objects that are fetched past the SDK: what is told of them is what the SDK tells, and what the encrypting client
// refuses is refused.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as sdk from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { directGet } from "../../../src/backup/transfer/direct-get.ts";
import { withDirectRequests } from "../../../src/backup/transfer/direct-requests.ts";
import { RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3/encrypt-s3-client.ts";
import { sseC } from "../../../src/s3/server-side/server-side.ts";
import { type S3Fault, S3Server } from "../../support/s3-server.ts";

const keyring = keyringOf(1);
function keyringOf(byte: number): RawAesKeyring {
  return new RawAesKeyring({
    keyNamespace: "test",
    keyName: "test",
    wrappingKey: new Uint8Array(32).fill(byte),
  });
}

interface Bench extends AsyncDisposable {
  readonly server: S3Server;
  readonly plain: sdk.S3Client;
  readonly encrypting: sdk.S3Client;
  readonly client: sdk.S3Client;
  readonly told: unknown[];
  /** Keys of GET requests that the SDK has made, or that we have. */
  keys(by: "sdk" | "us"): string[];
  put(Key: string, more?: Partial<sdk.PutObjectCommandInput>): Promise<sdk.PutObjectCommandOutput>;
}
async function bench(options: Partial<EncryptS3ClientOptions> = {}): Promise<Bench> {
  const server = await S3Server.start();
  const isSecure = options.serverSideEncryption !== undefined;
  const config = { responseChecksumValidation: "WHEN_REQUIRED", maxAttempts: 2 } as const;
  const plain = isSecure ? server.secureClient(config) : server.client(config);
  await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
  const told: unknown[] = [];
  const settings = { keyring, ...options };
  const encrypting = encryptS3Client(plain, settings);
  const client = withDirectRequests({
    sdk,
    plain,
    client: encrypting,
    seal: (base) => encryptS3Client(base, { ...settings, serverSideEncryption: undefined }),
    begin: () => ({ succeeded: () => told.push("good"), failed: (error) => told.push(error) }),
  });
  return {
    server,
    plain,
    encrypting,
    client,
    told,
    keys: (by) =>
      server.calls
        .filter(({ method, headers }) => method === "GET" && "amz-sdk-request" in headers === (by === "sdk"))
        .map(({ key }) => key),
    put: (Key, more) =>
      encrypting.send(
        new sdk.PutObjectCommand({ Bucket: "b", Key, Body: Buffer.from(`text of ${Key}`), ...more }),
      ),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

const get = (Key: string, more?: Partial<sdk.GetObjectCommandInput>) =>
  new sdk.GetObjectCommand({ Bucket: "b", Key, ...more });

/** All that an answer says, and its bytes; or the code of the error. */
async function seen(client: sdk.S3Client, command: sdk.GetObjectCommand): Promise<unknown> {
  try {
    const { $metadata, Body, ...fields } = await client.send(command);
    const bytes = Buffer.from((await Body?.transformToByteArray()) ?? []);
    const { httpStatusCode } = $metadata;
    const told = Object.entries(fields).filter(([, value]) => value !== undefined);
    return { httpStatusCode, ...Object.fromEntries(told), bytes: bytes.toString("base64") };
  } catch (error) {
    const { name, code } = error as { readonly name: string; readonly code?: string };
    return { name, code };
  }
}

const names = ["dir/second", "sp ace", "ü/ä", "a+b&c=d?e#f%20", "!'()*~", "folder/"];

test("what is told of an object, and its bytes, are as by the SDK", async () => {
  await using bed = await bench();
  const { server, client, encrypting, put, keys } = bed;
  await put("first");
  for (const Key of names) await put(Key, { Metadata: { mtime: "1.5", Mode: "644", text: "a  b, c" } });
  await put("empty", { Body: Buffer.alloc(0) });
  await put("fields", {
    CacheControl: "no-store",
    ContentDisposition: "inline",
    ContentEncoding: "gzip",
    ContentLanguage: "de",
    ContentType: "text/plain; charset=utf-8",
    StorageClass: "STANDARD_IA",
  });
  await put("long", { Body: randomBytes(300_000) });
  await put("message", { Body: randomBytes(70_000) });
  const all = [...names, "empty", "fields", "long", "message"];
  await seen(client, get("first"));
  server.calls.length = 0;
  for (const Key of all) {
    const direct = await seen(client, get(Key));
    expect(keys("sdk")).toEqual([]);
    expect(direct).toEqual(await seen(encrypting, get(Key)));
    server.calls.length = 0;
  }
  expect(bed.told).toEqual(all.map(() => "good"));
});

test("single messages as well", async () => {
  await using bed = await bench({ format: "s3ec-v3" });
  for (const Key of ["a", "b", "c"]) await bed.put(Key, { Body: randomBytes(50_000) });
  await seen(bed.client, get("a"));
  for (const Key of ["b", "c"])
    expect(await seen(bed.client, get(Key))).toEqual(await seen(bed.encrypting, get(Key)));
  expect(bed.keys("us")).toEqual(["b", "c"]);
});

test("versions are told and can be asked for", async () => {
  await using bed = await bench();
  const { server } = bed;
  const store = async (text: string) => {
    await bed.put("a", { Body: Buffer.from(text) });
    return server.object("b", "a");
  };
  const [old, current] = [await store("old"), await store("new")];
  server.delay = async ({ query }) => {
    server.buckets.get("b")?.set("a", query.has("versionId") ? old : current);
  };
  server.fault = ({ query }) =>
    query.get("versionId") === "none"
      ? { kind: "error", status: 404, code: "NoSuchVersion" }
      : { kind: "headers", change: { "x-amz-version-id": query.get("versionId") ?? "v2" } };
  await seen(bed.client, get("a", { VersionId: "v1" })); // shows how
  server.calls.length = 0;
  for (const [more, text] of [
    [{}, "new"],
    [{ VersionId: "v1._-~" }, "old"],
    [{ VersionId: "none" }, undefined],
  ] as const) {
    const direct = await seen(bed.client, get("a", more));
    expect(direct).toEqual(await seen(bed.encrypting, get("a", more)));
    if (text !== undefined)
      expect(direct).toMatchObject({
        VersionId: more.VersionId ?? "v2",
        bytes: Buffer.from(text).toString("base64"),
      });
  }
  expect(bed.keys("us").length).toBe(3);
  const odd = { VersionId: "a/b c" };
  expect(await seen(bed.client, get("a", odd))).toEqual(await seen(bed.encrypting, get("a", odd)));
  expect(bed.keys("us").length).toBe(3);
});

test("ranges, conditions and names with dots go the way of the SDK", async () => {
  await using bed = await bench();
  const { client, encrypting, put, keys } = bed;
  const { ETag } = await put("a");
  await seen(client, get("a"));
  for (const [Key, more] of [
    ["a", { Range: "bytes=2-4" }],
    ["a", { IfMatch: ETag }],
    ["a", { IfNoneMatch: ETag }],
    ["a", { ResponseContentType: "text/html" }],
    ["a//b", {}],
    ["a/../b", {}],
  ] as const)
    expect(await seen(client, get(Key, more))).toEqual(await seen(encrypting, get(Key, more)));
  expect(keys("us")).toEqual([]);
});

test.each([
  ["no ETag", { etag: undefined }],
  ["no time", { "last-modified": undefined }],
  ["another kind of time", { "last-modified": "Sunday, 06-Nov-94 08:49:37 GMT" }],
  ["a time that is none", { "last-modified": "yesterday" }],
  ["a time as XML has it", { "last-modified": "2026-11-27T00:00:00Z" }],
  ["a day that is none", { "last-modified": "Wed, 99 Feb 2026 00:00:00 GMT" }],
  ["metadata in encoded words", { "x-amz-meta-name": "=?UTF-8?B?w7w=?=" }],
  ["metadata in another script", { "x-amz-meta-name": "\u00fc" }],
  ["metadata without a name", { "x-amz-meta-": "text" }],
  ["metadata named as a prototype", { "x-amz-meta-__proto__": "text" }],
  ["empty metadata", { "x-amz-meta-name": "" }],
  ["an expiration", { "x-amz-expiration": 'expiry-date="Fri, 21 Dec 2012 00:00:00 GMT", rule-id="r"' }],
  ["an expiry", { expires: "Fri, 21 Dec 2012 00:00:00 GMT" }],
  ["a count of tags", { "x-amz-tagging-count": "2" }],
  ["a bucket key", { "x-amz-server-side-encryption-bucket-key-enabled": "true" }],
  ["a lock", { "x-amz-object-lock-mode": "GOVERNANCE" }],
  ["a checksum", { "x-amz-checksum-crc32": "AAAAAA==" }],
  ["a header of tomorrow", { "x-amz-tomorrow": "yes" }],
  ["a content range", { "content-range": "bytes 0-1/2" }],
  ["a weak ETag", { etag: 'W/"a"' }],
  ["no format", { "x-amz-meta-frameseal-format": undefined }],
  ["another format", { "x-amz-meta-frameseal-format": "of-tomorrow" }],
  ["another content coding", { "content-encoding": "aws-chunked,gzip" }],
] as const)("an answer with %s is told as by the SDK", async (_, change) => {
  await using bed = await bench();
  for (const Key of ["a", "b"]) await bed.put(Key, { Metadata: { mtime: "1" } });
  await seen(bed.client, get("a"));
  bed.server.fault = () => ({ kind: "headers", change });
  const direct = await seen(bed.client, get("b"));
  expect(bed.keys("us")).toEqual(["b"]);
  expect(direct).toEqual(await seen(bed.encrypting, get("b")));
});

test.each([200, 203, 204, 206, 304])("of answers with %i, only 200 is read here", async (statusCode) => {
  const headers = { etag: '"a"', "content-length": "4", "x-amz-meta-frameseal-format": "framed" };
  const body = Readable.from([Buffer.from("text")]);
  const read = directGet.outputOf({ statusCode, headers, body });
  if (statusCode === 200) await expect(read).resolves.toMatchObject({ ETag: '"a"', ContentLength: 4 });
  else await expect(read).rejects.toMatchObject({ $metadata: { httpStatusCode: statusCode } });
  expect(body.destroyed).toBe(statusCode !== 200);
});

test.each([
  ["503", { kind: "error", status: 503, code: "SlowDown" }],
  ["403", { kind: "error", status: 403, code: "AccessDenied" }],
  ["307", { kind: "error", status: 307, code: "TemporaryRedirect" }],
  ["a broken connection", { kind: "reset" }],
] as const satisfies readonly (readonly [string, S3Fault])[])("after %s the SDK asks", async (_, fault) => {
  await using bed = await bench();
  for (const Key of ["a", "b"]) await bed.put(Key);
  await seen(bed.client, get("a"));
  bed.server.fault = ({ headers }) => ("amz-sdk-request" in headers ? undefined : fault);
  expect(await seen(bed.client, get("b"))).toEqual(await seen(bed.encrypting, get("b")));
  expect(bed.keys("us")).toEqual(["b"]);
  expect(bed.told.length).toBe(1);
  expect(bed.told[0]).toBeInstanceOf(Error);
});

test.each([
  ["breaks", { kind: "cut", at: 400 }],
  ["breaks at once", { kind: "reset-headers" }],
  ["ends early", { kind: "end", at: 400 }],
] as const)("a body that %s goes on by the SDK, with what is missing", async (_, fault) => {
  await using bed = await bench();
  const Body = randomBytes(100_000);
  for (const Key of ["a", "b"]) await bed.put(Key, { Body });
  await seen(bed.client, get("a"));
  bed.server.calls.length = 0;
  bed.server.fault = ({ headers }) => ("amz-sdk-request" in headers ? undefined : fault);
  expect(await seen(bed.client, get("b"))).toEqual(await seen(bed.encrypting, get("b")));
  expect(bed.keys("us")).toEqual(["b"]);
  const [further] = bed.server.calls.filter(({ headers }) => "amz-sdk-request" in headers);
  expect(further?.headers.range).toMatch(/^bytes=\d+-\d+$/);
  expect(further?.headers["if-match"]).toBe(bed.server.object("b", "b").eTag);
});

test("a silent body times out and goes on", async () => {
  await using bed = await bench({ readTimeout: 50 });
  for (const Key of ["a", "b"]) await bed.put(Key);
  await seen(bed.client, get("a"));
  bed.server.fault = ({ headers }) =>
    "amz-sdk-request" in headers ? undefined : { kind: "stall-body", at: 100 };
  expect(await seen(bed.client, get("b"))).toEqual(await seen(bed.encrypting, get("b")));
});

test.each([
  ["a changed bit", { kind: "flip", at: 500 }],
  ["a changed header", { kind: "flip", at: 30 }],
  ["missing bytes", { kind: "short", by: 5 }],
  ["more bytes", { kind: "extra", by: 5 }],
  ["an empty object", { kind: "short", by: 1e9 }],
] as const)("%s is refused, and asked for once", async (_, fault) => {
  await using bed = await bench();
  for (const Key of ["a", "b"]) await bed.put(Key, { Body: randomBytes(1000) });
  await seen(bed.client, get("a"));
  bed.server.fault = () => fault;
  bed.server.calls.length = 0;
  const direct = await seen(bed.client, get("b"));
  expect(bed.keys("us")).toEqual(["b"]);
  expect(bed.keys("sdk")).toEqual([]);
  expect(direct).toHaveProperty("code", expect.any(String));
  expect(direct).toEqual(await seen(bed.encrypting, get("b")));
});

test("what is not encrypted, is of another key, or lies in the place of another is refused", async () => {
  await using bed = await bench({ bind: "key" });
  const { server, plain, client, encrypting, put, keys } = bed;
  for (const Key of ["a", "b", "c", "swapped", "good"]) await put(Key);
  await plain.send(new sdk.PutObjectCommand({ Bucket: "b", Key: "plain", Body: "text" }));
  const other = encryptS3Client(plain, { keyring: keyringOf(2), bind: "key" });
  await other.send(new sdk.PutObjectCommand({ Bucket: "b", Key: "other", Body: "text" }));
  const objects = server.buckets.get("b");
  objects?.set("swapped", server.object("b", "c"));
  await seen(client, get("a"));
  for (const [Key, code] of [
    ["plain", "NOT_ENCRYPTED"],
    ["other", "NO_DATA_KEY"],
    ["swapped", "CONTEXT_MISMATCH"],
  ] as const) {
    server.calls.length = 0;
    expect(await seen(client, get(Key))).toMatchObject({ code });
    expect(keys("us")).toEqual([Key]);
    expect(keys("sdk")).not.toContain(Key);
    expect(await seen(encrypting, get(Key))).toMatchObject({ code });
  }
  // They say nothing against the way.
  server.calls.length = 0;
  expect(await seen(client, get("good"))).toMatchObject({ Metadata: {} });
  expect(keys("us")).toEqual(["good"]);
});

test("where it fails again and again it is left; that there is no object is no such failure", async () => {
  await using bed = await bench();
  for (let i = 0; i < 8; i++) await bed.put(String(i));
  await seen(bed.client, get("0"));
  for (let i = 0; i < 5; i++)
    expect(await seen(bed.client, get("none"))).toMatchObject({ name: "NoSuchKey" });
  bed.server.calls.length = 0;
  bed.server.fault = ({ headers }) =>
    "amz-sdk-request" in headers ? undefined : { kind: "error", status: 403, code: "SignatureDoesNotMatch" };
  for (let i = 1; i < 8; i++) await seen(bed.client, get(String(i)));
  expect(bed.keys("us")).toEqual(["1", "2", "3"]);
  expect(bed.keys("sdk").length).toBe(7);
});

test("SSE-C goes the way of the SDK", async () => {
  await using bed = await bench({ serverSideEncryption: sseC(new Uint8Array(32).fill(7)) });
  const Rules = [
    {
      ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" as const },
      BlockedEncryptionTypes: { EncryptionType: ["NONE" as const] },
    },
  ];
  const ServerSideEncryptionConfiguration = { Rules };
  await bed.plain.send(
    new sdk.PutBucketEncryptionCommand({ Bucket: "b", ServerSideEncryptionConfiguration }),
  );
  for (const Key of ["a", "b"]) {
    await bed.put(Key);
    expect(await seen(bed.client, get(Key))).toHaveProperty("bytes");
  }
  expect(bed.keys("us")).toEqual([]);
});

test.each([
  ["the answer", { kind: "stall" }],
  ["the body", { kind: "stall-body", at: 700 }],
] as const)("an operation that is aborted ends while it waits for %s", async (_, fault) => {
  await using bed = await bench();
  for (const Key of ["a", "b"]) await bed.put(Key, { Body: randomBytes(100_000) });
  await seen(bed.client, get("a"));
  const controller = new AbortController();
  bed.server.fault = () => fault;
  bed.server.delay = async () => void setTimeout(() => controller.abort(), 20);
  bed.server.calls.length = 0;
  const read = async () => {
    const { Body } = await bed.client.send(get("b"), { abortSignal: controller.signal });
    await Body?.transformToByteArray();
  };
  await expect(read()).rejects.toMatchObject({ code: "ABORTED" });
  expect(bed.server.calls.length).toBe(1);
});
