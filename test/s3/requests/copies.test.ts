// CopyObject: every field of it is obeyed on both paths, conditions on the source are judged as S3 judges them, and what
// belongs to the source goes along as it does in S3.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { meaningOf } from "../../../src/s3/request-fields.ts";
import { encryptS3Client, serverSideEncryptS3Client, sseC } from "../../../src/s3.ts";
import { threeAttempts } from "../../support/retries.ts";
import { getObject, outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const body = randomBytes(200_000);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: sdk.S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client(threeAttempts);
  await plain.send(new sdk.CreateBucketCommand({ Bucket }));
});
afterEach(() => {
  server.fault = () => undefined;
});
afterAll(() => server[Symbol.asyncDispose]());

/** The two ways of a copy: by S3, and through this machine. */
const paths = {
  "copied by S3": { bind: "none" },
  "encrypted again": { bind: "key", boundCopy: "reencrypt" },
} as const;
type Path = keyof typeof paths;
const each = Object.keys(paths) as Path[];
const clientFor = (path: Path, client = plain): sdk.S3Client =>
  encryptS3Client(client, { keyring, partSize: 5 * 2 ** 20, ...paths[path] });

let number = 0;
const freshKey = (): string => `key-${++number}`;
async function putSource(path: Path, more: Partial<sdk.PutObjectCommandInput> = {}): Promise<string> {
  const Key = freshKey();
  await clientFor(path).send(new sdk.PutObjectCommand({ Bucket, Key, Body: body, ...more }));
  return Key;
}

/** The names of the fields that CopyObject takes. */
function copyFields(): readonly string[] {
  const command = new sdk.CopyObjectCommand({ Bucket, Key: "k", CopySource: "b/k" });
  const input = (command as unknown as { schema: readonly unknown[] }).schema[4];
  return ((typeof input === "function" ? input() : input) as readonly unknown[])[4] as readonly string[];
}

const date = new Date(4e12);
const past = new Date(1e12);
const customerKey = Buffer.alloc(32, 7).toString("base64");
/** What a field is tried with, and with what else, where its name as value will not do. */
const samples: Readonly<Record<string, readonly [unknown, Readonly<Record<string, unknown>>?]>> = {
  AnnotationDirective: ["EXCLUDE"],
  BucketKeyEnabled: [true],
  ChecksumAlgorithm: ["SHA256"],
  CopySourceIfModifiedSince: [past],
  CopySourceIfUnmodifiedSince: [date],
  CopySourceSSECustomerAlgorithm: ["AES256"],
  CopySourceSSECustomerKey: [customerKey],
  Expires: [date],
  IfNoneMatch: ["*"],
  Metadata: [{ own: "2" }, { MetadataDirective: "REPLACE" }],
  MetadataDirective: ["REPLACE"],
  ObjectLockEventHoldDurationDays: [3],
  ObjectLockEventHoldDurationYears: [4],
  ObjectLockRetainUntilDate: [date],
  SSECustomerKey: [customerKey],
  Tagging: ["a=b", { TaggingDirective: "REPLACE" }],
  TaggingDirective: ["REPLACE"],
};
/** Fields that only say how others are meant. */
const directives = ["MetadataDirective", "TaggingDirective", "AnnotationDirective"];
/** What reads of the source call a field. */
const sourceName = (field: string): string =>
  field === "ExpectedSourceBucketOwner" ? "ExpectedBucketOwner" : field.replace(/^CopySource/, "");

interface Recorded {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}
/** A client that notes what it sends. Whatever the server says to the values, they have been sent. */
function recordingClient(): { client: sdk.S3Client; sent: Recorded[] } {
  const client = server.client({ maxAttempts: 1 });
  const sent: Recorded[] = [];
  client.middlewareStack.add(
    (next, context) => (args) => {
      const name = (context.commandName ?? "").replace(/Command$/, "");
      sent.push({ name, input: { ...(args.input as Record<string, unknown>) } });
      return next(args);
    },
    { step: "initialize", name: "record", priority: "low" },
  );
  return { client, sent };
}

describe.each(each)("every field of a copy %s", (path) => {
  const making = path === "copied by S3" ? "CopyObject" : "PutObject";
  const fields = copyFields().filter((field) => !["Bucket", "Key", "CopySource"].includes(field));

  test("there are fields", () => expect(fields.length).toBeGreaterThan(40));

  test.each(fields)("%s", async (field) => {
    const [value = `value-of-${field}`, more = {}] = samples[field] ?? [];
    const about = meaningOf(field) === "description" ? { MetadataDirective: "REPLACE" } : more;
    const key = await putSource(path);
    const { client, sent } = recordingClient();
    const Key = freshKey();
    const copy = { Bucket, Key, CopySource: `${Bucket}/${key}`, ...about, [field]: value };
    const outcome = await outcomeOf(clientFor(path, client).send(new sdk.CopyObjectCommand(copy as never)));
    const made = sent.filter(({ name, input }) => name === making && input.Key === Key);
    if (["plaintext-digest", "refused"].includes(meaningOf(field) ?? "")) {
      expect(sent).toEqual([]);
      return;
    }
    if (meaningOf(field) === "source") {
      const heads = sent.filter(({ name }) => name === "HeadObject");
      expect(heads[0]?.input[sourceName(field)]).toEqual(value);
      return;
    }
    if (directives.includes(field) && making === "PutObject") {
      expect(outcome).toBe("accepted");
      return;
    }
    expect(made.length, outcome).toBeGreaterThan(0);
    if (field === "Metadata") expect(made[0]?.input.Metadata).toMatchObject(value as object);
    else if (field === "ContentEncoding")
      expect(made[0]?.input.Metadata).toMatchObject({ "frameseal-content-encoding": value });
    else expect(made[0]?.input[field]).toEqual(value);
  });

  test.each(directives)("%s with another value is refused before anything is sent", async (field) => {
    const { client, sent } = recordingClient();
    const copy = { Bucket, Key: "x", CopySource: `${Bucket}/y`, [field]: "SOMETHING" };
    const sending = clientFor(path, client).send(new sdk.CopyObjectCommand(copy as never));
    await expect(sending).rejects.toThrow(TypeError);
    expect(sent).toEqual([]);
  });
});

/** All ways to choose one of the values of each field, or none. */
function combinations(fields: Readonly<Record<string, readonly unknown[]>>): Record<string, unknown>[] {
  let all: Record<string, unknown>[] = [{}];
  for (const [name, values] of Object.entries(fields))
    all = all.flatMap((one) => [one, ...values.map((value) => ({ ...one, [name]: value }))]);
  return all;
}

test.each(each)("conditions on the source of a copy %s are judged as S3 judges them", async (path) => {
  const key = await putSource(path);
  const { eTag } = server.object(Bucket, key);
  const wrong = '"00000000000000000000000000000000"';
  const conditions = combinations({
    CopySourceIfMatch: [eTag, wrong],
    CopySourceIfNoneMatch: [eTag, wrong],
    CopySourceIfModifiedSince: [past, date],
    CopySourceIfUnmodifiedSince: [past, date],
  });
  expect(conditions.length).toBe(81);
  const client = clientFor(path);
  const seen = new Set<string>();
  for (const condition of conditions) {
    const copy = { Bucket, Key: freshKey(), CopySource: `${Bucket}/${key}`, ...condition } as never;
    const expected = await outcomeOf(plain.send(new sdk.CopyObjectCommand(copy)));
    server.buckets.get(Bucket)?.delete(`key-${number}`);
    const error = await client.send(new sdk.CopyObjectCommand(copy)).then(
      () => undefined,
      (reason) => reason,
    );
    expect(error?.name ?? "accepted", JSON.stringify(condition)).toBe(expected);
    if (error !== undefined) expect(error.$metadata.httpStatusCode).toBe(412);
    seen.add(expected);
  }
  expect([...seen].sort()).toEqual(["PreconditionFailed", "accepted"]);
});

describe.each(each)("a copy %s", (path) => {
  const copyTo = (Key: string, key: string, more: Partial<sdk.CopyObjectCommandInput> = {}) =>
    clientFor(path).send(new sdk.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${key}`, ...more }));

  test("of what is not there fails as in S3", async () => {
    expect(await outcomeOf(copyTo("x", "nothing"))).toBe("NoSuchKey");
    server.fault = () => ({ kind: "error", status: 403, code: "AccessDenied" });
    expect(await outcomeOf(copyTo("x", "nothing"))).toBe("AccessDenied");
  });

  test("keeps description, own metadata and tags, but neither storage class nor redirection", async () => {
    const key = await putSource(path, {
      ContentType: "text/x",
      ContentEncoding: "gzip",
      CacheControl: "no-store",
      Expires: date,
      Metadata: { own: "1" },
      Tagging: "a=b%20c&d=",
      StorageClass: "STANDARD_IA",
      WebsiteRedirectLocation: "/elsewhere",
    });
    const Key = freshKey();
    await copyTo(Key, key);
    const output = await getObject(clientFor(path), { Bucket, Key });
    expect(output.bytes.equals(body)).toBe(true);
    expect(output).toMatchObject({
      ContentType: "text/x",
      ContentEncoding: "gzip",
      CacheControl: "no-store",
      Metadata: { own: "1" },
    });
    const { headers } = server.object(Bucket, Key);
    expect([...new URLSearchParams(headers["x-amz-tagging"])]).toEqual([
      ["a", "b c"],
      ["d", ""],
    ]);
    expect(headers.expires).toBe(date.toUTCString());
    expect(headers).not.toHaveProperty("x-amz-storage-class");
    expect(headers).not.toHaveProperty("x-amz-website-redirect-location");
  });

  test("replaces tags and metadata when told so, each for itself", async () => {
    const key = await putSource(path, { ContentType: "text/x", Metadata: { own: "1" }, Tagging: "a=1" });
    const [one, two] = [freshKey(), freshKey()];
    await copyTo(one, key, { TaggingDirective: "REPLACE", Tagging: "b=2" });
    expect(server.object(Bucket, one).headers).toMatchObject({
      "x-amz-tagging": "b=2",
      "x-amz-meta-own": "1",
      "content-type": "text/x",
    });
    await copyTo(two, key, { MetadataDirective: "REPLACE", ContentType: "text/y" });
    const { headers } = server.object(Bucket, two);
    expect(headers).toMatchObject({ "x-amz-tagging": "a=1", "content-type": "text/y" });
    expect(headers).not.toHaveProperty("x-amz-meta-own");
    expect((await readObject(clientFor(path), { Bucket, Key: two })).equals(body)).toBe(true);
  });

  test("where tags cannot be read, and there may be none, goes on without", async () => {
    const key = await putSource(path);
    for (const status of [403, 404, 405, 501]) {
      const refused = { kind: "error", status, code: "NotImplemented" } as const;
      server.fault = ({ query }) => (query.has("tagging") ? refused : undefined);
      const Key = freshKey();
      await copyTo(Key, key);
      expect((await readObject(clientFor(path), { Bucket, Key })).equals(body)).toBe(true);
    }
  });

  test.each(["a+b", "a b", "ä/ö", "what?", "x?versionId=1", "100%", "a%2Fb", "a&b=c;d", "'(!)*~", "/lead"])(
    "finds %s, however it is written",
    async (name) => {
      const key = `${freshKey()}/${name}`;
      await clientFor(path).send(new sdk.PutObjectCommand({ Bucket, Key: key, Body: body }));
      const encoded = encodeURIComponent(`${Bucket}/${key}`);
      for (const CopySource of [encoded, `/${encoded}`, encoded.replaceAll("%2F", "/")]) {
        const Key = freshKey();
        await copyTo(Key, key, { CopySource });
        expect((await readObject(clientFor(path), { Bucket, Key })).equals(body)).toBe(true);
      }
    },
  );

  test("of a source that cannot be understood is an error of its promise", async () => {
    const secure = server.secureClient();
    const clients = [clientFor(path), serverSideEncryptS3Client(secure, sseC(randomBytes(32)))];
    for (const CopySource of ["bucket/100%", "bucket", "", "arn:aws:s3:::bucket/key", undefined])
      for (const client of clients) {
        const sending = client.send(new sdk.CopyObjectCommand({ Bucket, Key: "x", CopySource } as never));
        if (CopySource === undefined && client !== clients[0]) await expect(sending).rejects.toThrow();
        else await expect(sending).rejects.toThrow(TypeError);
      }
  });

  test("of an object that is replaced meanwhile fails", async () => {
    const key = await putSource(path);
    server.fault = ({ method, key: called }) => {
      if (method !== "HEAD" || called !== key) return undefined;
      setImmediate(() => {
        const replaced = { ...server.object(Bucket, key), eTag: '"another"' };
        server.buckets.get(Bucket)?.set(key, replaced);
      });
      return undefined;
    };
    expect(await outcomeOf(copyTo(freshKey(), key))).toBe("PreconditionFailed");
  });
});

test("a weak tag of the source is not sent", async () => {
  const key = await putSource("copied by S3");
  server.buckets.get(Bucket)?.set(key, { ...server.object(Bucket, key), eTag: 'W/"weak"' });
  const Key = freshKey();
  const copy = { Bucket, Key, CopySource: `${Bucket}/${key}` };
  await clientFor("copied by S3").send(new sdk.CopyObjectCommand(copy));
  expect((await readObject(clientFor("copied by S3"), { Bucket, Key })).equals(body)).toBe(true);
});

test("one connection is enough for a copy that is encrypted again", async () => {
  const long = randomBytes(24 * 2 ** 20);
  const [key, Key] = [freshKey(), freshKey()];
  const client = clientFor(
    "encrypted again",
    server.client({ requestHandler: { httpAgent: { maxSockets: 1 } } }),
  );
  await client.send(new sdk.PutObjectCommand({ Bucket, Key: key, Body: long }));
  await client.send(new sdk.CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${key}` }));
  expect((await readObject(client, { Bucket, Key })).equals(long)).toBe(true);
});

test("an explicit wish for annotations is refused where they would get lost", async () => {
  const key = await putSource("encrypted again");
  const copy = {
    Bucket,
    Key: freshKey(),
    CopySource: `${Bucket}/${key}`,
    AnnotationDirective: "COPY",
  } as const;
  expect(await outcomeOf(clientFor("encrypted again").send(new sdk.CopyObjectCommand(copy)))).toBe(
    "UNSUPPORTED",
  );
  expect(server.buckets.get(Bucket)?.has(copy.Key)).toBe(false);
});
