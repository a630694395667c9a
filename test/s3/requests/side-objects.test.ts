// Instruction files share the fate of their objects: stored after them, like them, deleted with them, and never mistaken
// for, or destroyed by, the object of somebody else.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import {
  decryptObject,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
  rewrapObject,
  setDefaultEncryption,
  sseS3,
} from "../../../src/s3.ts";
import { threeAttempts } from "../../support/retries.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const MiB = 2 ** 20;
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const small = randomBytes(1000);
const large = randomBytes(11 * MiB);
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

const clientFor = (options: Partial<EncryptS3ClientOptions> = {}): sdk.S3Client =>
  encryptS3Client(plain, {
    keyring,
    format: "s3ec-v3",
    instructionFiles: "write",
    partSize: 5 * MiB,
    ...options,
  });
const has = (key: string): boolean => server.buckets.get(Bucket)?.has(key) === true;
const read = (Key: string): Promise<Buffer> => readObject(clientFor(), { Bucket, Key });
let number = 0;
const freshKey = (): string => `key-${++number}`;

type Fields = Partial<sdk.PutObjectCommandInput>;
const ways: Readonly<Record<string, (Key: string, fields: Fields) => Promise<unknown>>> = {
  "one part": (Key, fields) =>
    clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small, ...fields })),
  "three parts": (Key, fields) =>
    clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: large, ...fields })),
  "an upload by hand": (Key, fields) => {
    const params = { Bucket, Key, Body: large, ...fields };
    return new Upload({ client: clientFor(), partSize: 5 * MiB, params }).done();
  },
};

describe.each(Object.keys(ways))("the file of an object stored in %s", (way) => {
  const put = (Key: string, fields: Fields = {}) => (ways[way] as (typeof ways)[string])(Key, fields);

  test("comes last, and once", async () => {
    const Key = freshKey();
    const calls = server.calls.length;
    await put(Key);
    const stored = server.calls.slice(calls).filter(({ method }) => method === "PUT" || method === "POST");
    expect(stored.map(({ key }) => key).indexOf(`${Key}.instruction`)).toBe(stored.length - 1);
    expect((await read(Key)).length).toBeGreaterThan(0);
  });

  test("has the encryption, lock, tags, storage class and payer of the object", async () => {
    const Key = freshKey();
    server.kmsKeys.set("a-key", "enabled");
    const until = new Date(4e12);
    const calls = server.calls.length;
    await put(Key, {
      ServerSideEncryption: "aws:kms",
      SSEKMSKeyId: "a-key",
      ObjectLockMode: "GOVERNANCE",
      ObjectLockRetainUntilDate: until,
      ObjectLockLegalHoldStatus: "ON",
      Tagging: "a=b",
      ACL: "bucket-owner-full-control",
      StorageClass: "STANDARD_IA",
      RequestPayer: "requester",
      ContentType: "text/x",
      CacheControl: "no-store",
    });
    const [object, file] = [server.object(Bucket, Key), server.object(Bucket, `${Key}.instruction`)];
    expect(file.atRest).toEqual(object.atRest);
    expect(file.atRest).toMatchObject({ algorithm: "aws:kms", kmsKeyId: "a-key" });
    for (const headers of [object.headers, file.headers])
      expect(headers).toMatchObject({
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": until.toISOString().replace(".000Z", "Z"),
        "x-amz-object-lock-legal-hold": "ON",
        "x-amz-tagging": "a=b",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-storage-class": "STANDARD_IA",
      });
    // What describes the plaintext does not describe the file.
    expect(file.headers["cache-control"]).toBeUndefined();
    const requests = server.calls.slice(calls).filter(({ method }) => method !== "HEAD");
    expect(requests.every(({ headers }) => headers["x-amz-request-payer"] === "requester")).toBe(true);
  });

  test("that cannot be stored takes the object back, so that the put can be tried again", async () => {
    const Key = freshKey();
    const denied = { kind: "error", status: 403, code: "AccessDenied" } as const;
    server.fault = ({ method, key }) =>
      method === "PUT" && key === `${Key}.instruction` ? denied : undefined;
    expect(await outcomeOf(put(Key, { IfNoneMatch: "*" }))).toBe("AccessDenied");
    expect([has(Key), has(`${Key}.instruction`)]).toEqual([false, false]);
    server.fault = () => undefined;
    await put(Key, { IfNoneMatch: "*" });
    expect((await read(Key)).length).toBeGreaterThan(0);
  });

  test("that cannot be stored over an old one leaves the new object readable without", async () => {
    const Key = freshKey();
    await put(Key, { Tagging: "a=b" });
    const denied = { kind: "error", status: 403, code: "AccessDenied" } as const;
    server.fault = ({ method, key }) =>
      method === "PUT" && key === `${Key}.instruction` ? denied : undefined;
    const output = await put(Key, { Tagging: "c=d", ContentType: "text/x", Metadata: { own: "1" } });
    server.fault = () => undefined;
    const { eTag, headers } = server.object(Bucket, Key);
    expect(headers).toMatchObject({
      "x-amz-tagging": "c=d",
      "content-type": "text/x",
      "x-amz-meta-own": "1",
      "x-amz-meta-x-amz-3": expect.any(String),
    });
    expect((output as { ETag?: string }).ETag).toBe(eTag);
    expect((await read(Key)).length).toBeGreaterThan(0);
  });

  test("that cannot be stored, nor the envelope moved: the error says what is gone", async () => {
    const denied = { kind: "error", status: 403, code: "AccessDenied" } as const;
    for (const [alsoDenied, told] of [
      [[], /not its instruction file, so it was deleted again; what was under its key before is gone/],
      [["DELETE"], /not be deleted again: nobody can read it; what was under its key before is gone/],
    ] as const) {
      const Key = freshKey();
      await put(Key);
      server.fault = ({ method, key, headers }) => {
        const isFile = method === "PUT" && key === `${Key}.instruction`;
        const isDenied = alsoDenied.some((each) => each === method);
        return isFile || isDenied || headers["x-amz-copy-source"] !== undefined ? denied : undefined;
      };
      await expect(put(Key)).rejects.toMatchObject({
        name: "FramesealError",
        message: expect.stringMatching(told),
        cause: { name: "AccessDenied" },
      });
      server.fault = () => undefined;
      expect(has(Key)).toBe(alsoDenied.length > 0);
      await put(Key);
      expect((await read(Key)).length).toBeGreaterThan(0);
    }
  });

  test("survives answers that are lost, and servers that know no conditions", async () => {
    const isFile = (key: string) => key.endsWith(".instruction");
    for (const fault of [
      { kind: "reset", after: true },
      { kind: "error", status: 500, code: "InternalError", after: true },
      { kind: "error", status: 409, code: "ConditionalRequestConflict" },
    ] as const) {
      const Key = freshKey();
      let met = 0;
      server.fault = ({ method, key }) => (method === "PUT" && isFile(key) && met++ < 3 ? fault : undefined);
      await put(Key);
      expect(met).toBeGreaterThan(0);
      expect((await read(Key)).length).toBeGreaterThan(0);
    }
    const Key = freshKey();
    const unknown = { kind: "error", status: 501, code: "NotImplemented" } as const;
    server.fault = ({ method, key, headers }) =>
      method === "PUT" && isFile(key) && headers["if-none-match"] !== undefined ? unknown : undefined;
    await put(Key);
    expect((await read(Key)).length).toBeGreaterThan(0);
  });
});

test("two writers at once leave an object with its own file, in whatever order their requests arrive", async () => {
  for (let round = 0; round < 25; round++) {
    const Key = freshKey();
    if (round % 2 === 0) await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
    const bodies = [0, 1, 2].map(() => randomBytes(50));
    await Promise.all(
      bodies.map((Body) => clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body }))),
    );
    const found = await read(Key);
    expect(bodies.some((each) => each.equals(found))).toBe(true);
  }
});

test.each(["fresh", "old"])(
  "a writer that was overtaken leaves the newer object its file: %s",
  async (what) => {
    const Key = freshKey();
    if (what === "old") await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
    const newer = randomBytes(77);
    server.delay = async ({ method, key }) => {
      if (method !== "PUT" || key !== `${Key}.instruction`) return;
      server.delay = async () => {};
      // Between the object of the first and its file.
      await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: newer }));
    };
    await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
    expect((await read(Key)).equals(newer)).toBe(true);
  },
);

test("a writer whose object is the newer one stores its file over that of the older", async () => {
  const Key = freshKey();
  const newer = randomBytes(77);
  let second: Promise<unknown> | undefined;
  let first: Promise<unknown> | undefined;
  server.delay = async ({ method, key }) => {
    if (method !== "PUT" || key !== `${Key}.instruction`) return;
    if (second !== undefined) {
      // The file of the newer object waits for that of the older one.
      server.delay = async () => {};
      return void (await first);
    }
    const { eTag } = server.object(Bucket, Key);
    second = clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: newer }));
    await vi.waitFor(() => expect(server.object(Bucket, Key).eTag).not.toBe(eTag));
  };
  first = clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
  await first;
  await second;
  expect((await read(Key)).equals(newer)).toBe(true);
});

describe("keys of instruction files", () => {
  const reserved = "some/object.instruction";
  const target = { Bucket, Key: reserved };
  const attempts: Readonly<Record<string, (client: sdk.S3Client) => Promise<unknown>>> = {
    PutObject: (client) => client.send(new sdk.PutObjectCommand({ ...target, Body: "x" })),
    CopyObject: (client) => client.send(new sdk.CopyObjectCommand({ ...target, CopySource: `${Bucket}/x` })),
    CreateMultipartUpload: (client) => client.send(new sdk.CreateMultipartUploadCommand(target)),
    "lib-storage": (client) => new Upload({ client, params: { ...target, Body: "x" } }).done(),
  };
  test.each(Object.keys(attempts))("%s under one is refused, whatever is written", async (name) => {
    const attempt = attempts[name] as (typeof attempts)[string];
    const calls = server.calls.length;
    for (const options of [
      { format: "framed", instructionFiles: "read" },
      { format: "s3ec-v3", instructionFiles: "read" },
      { format: "s3ec-v3", instructionFiles: "write" },
    ] as const)
      expect(await outcomeOf(attempt(clientFor(options)))).toBe("POLICY");
    expect(server.calls.length).toBe(calls);
  });

  test("without a client as well", async () => {
    const location = { bucket: Bucket, key: reserved };
    expect(await outcomeOf(encryptObject(location, small, { keyring }))).toBe("POLICY");
    expect(await outcomeOf(rewrapObject(plain, location, { from: keyring, to: keyring }))).toBe("POLICY");
  });

  test("are those of the suffix that is used, and free where there are no such files", async () => {
    const Key = freshKey();
    const other = clientFor({ instructionFileSuffix: ".keys" });
    expect(await outcomeOf(other.send(new sdk.PutObjectCommand({ ...target, Key: `${Key}.keys` })))).toBe(
      "POLICY",
    );
    const free = clientFor({ format: "framed", instructionFiles: "ignore" });
    await free.send(new sdk.PutObjectCommand({ Bucket, Key: `${Key}.instruction`, Body: small }));
    await free.send(new sdk.PutObjectCommand({ Bucket, Key: ".instruction", Body: small }));
  });
});

describe("deleting", () => {
  const remove: Readonly<Record<string, (client: sdk.S3Client, Key: string) => Promise<unknown>>> = {
    DeleteObject: (client, Key) => client.send(new sdk.DeleteObjectCommand({ Bucket, Key })),
    DeleteObjects: (client, Key) =>
      client.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key }, { Key: "none" }] } })),
  };
  test.each(Object.keys(remove))("%s takes a file along, with or without its marker", async (name) => {
    for (const marked of [true, false]) {
      const Key = freshKey();
      await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
      const file = server.object(Bucket, `${Key}.instruction`);
      if (!marked) server.buckets.get(Bucket)?.set(`${Key}.instruction`, { ...file, headers: {} });
      await (remove[name] as (typeof remove)[string])(clientFor(), Key);
      expect([has(Key), has(`${Key}.instruction`)]).toEqual([false, false]);
    }
  });

  test.each(Object.keys(remove))("%s leaves what only has the name of a file", async (name) => {
    for (const Body of ["notes", "{}", '{"a":"b"}', '{"x-amz-iv":"b"}', randomBytes(100_000)]) {
      const Key = freshKey();
      await clientFor({ instructionFiles: "read" }).send(
        new sdk.PutObjectCommand({ Bucket, Key, Body: small }),
      );
      await plain.send(new sdk.PutObjectCommand({ Bucket, Key: `${Key}.instruction`, Body }));
      await (remove[name] as (typeof remove)[string])(clientFor(), Key);
      expect([has(Key), has(`${Key}.instruction`)]).toEqual([false, true]);
    }
  });

  test.each(Object.keys(remove))(
    "%s leaves the file of an object that was stored meanwhile",
    async (name) => {
      const Key = freshKey();
      await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
      const newer = randomBytes(50);
      let done: Promise<unknown> | undefined;
      const { delay } = pause(() => {
        done ??= clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: newer }));
        return done;
      });
      const removed = deriveAfterDelete(clientFor(), delay);
      await (remove[name] as (typeof remove)[string])(removed, Key);
      await done;
      expect((await read(Key)).equals(newer)).toBe(true);
    },
  );

  test("a version takes no file along, and what failed keeps its own", async () => {
    const Key = freshKey();
    await clientFor().send(new sdk.PutObjectCommand({ Bucket, Key, Body: small }));
    const denied = { kind: "error", status: 403, code: "AccessDenied" } as const;
    server.fault = ({ method, key }) => (method === "DELETE" && key === Key ? denied : undefined);
    expect(await outcomeOf(clientFor().send(new sdk.DeleteObjectCommand({ Bucket, Key })))).toBe(
      "AccessDenied",
    );
    server.fault = () => undefined;
    expect((await read(Key)).equals(small)).toBe(true);
    await clientFor().send(new sdk.DeleteObjectCommand({ Bucket, Key, VersionId: "null" }));
    expect(has(`${Key}.instruction`)).toBe(true);
  });
});

/** Waits for `work` once. */
function pause(work: () => Promise<unknown>): { delay: () => Promise<void> } {
  let once: Promise<unknown> | undefined;
  return {
    async delay() {
      once ??= work();
      await once;
    },
  };
}

/** A client that waits after the objects were deleted, before anything else is. */
function deriveAfterDelete(client: sdk.S3Client, delay: () => Promise<void>): sdk.S3Client {
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const result = await next(args);
      if (/^DeleteObjects?Command$/.test(context.commandName ?? "")) await delay();
      return result;
    },
    { step: "deserialize", name: "wait", priority: "high" },
  );
  return client;
}

test("an object that is encrypted without a client is readable with its file", async () => {
  const location = { bucket: Bucket, key: "alone" };
  const options = { keyring, format: "s3ec-v3", instructionFiles: "write" } as const;
  const { body, metadata, instructionFile } = await encryptObject(location, small, options);
  const fetched = { body, metadata, instructionFile: instructionFile?.body };
  expect(Buffer.from((await decryptObject(location, fetched, options)).body).equals(small)).toBe(true);
});

test("the file of an object under a customer key has the same key; one that was stored without is read as well", async () => {
  const bucket = "customer";
  await plain.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
  await setDefaultEncryption(plain, bucket, { encryption: sseS3(), customerKeys: "allow" });
  const secure = server.secureClient(threeAttempts);
  const access = { SSECustomerAlgorithm: "AES256", SSECustomerKey: randomBytes(32).toString("base64") };
  const target = { Bucket: bucket, Key: "object", ...access };
  const client = encryptS3Client(secure, { keyring, format: "s3ec-v3", instructionFiles: "write" });
  await client.send(new sdk.PutObjectCommand({ ...target, Body: small }));
  const [object, file] = ["object", "object.instruction"].map((key) => server.object(bucket, key));
  expect(file?.atRest).toEqual(object?.atRest);
  expect(file?.atRest.algorithm).toBe("SSE-C");
  expect((await readObject(client, target)).equals(small)).toBe(true);
  const { body: Body } = server.object(bucket, "object.instruction");
  await plain.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: "object.instruction", Body }));
  expect((await readObject(client, target)).equals(small)).toBe(true);
});
