// What a rewrap keeps, what it must have proven before it changes anything, and that races are refused.
import { constants, generateKeyPairSync, publicEncrypt, randomBytes } from "node:crypto";
import {
  CreateBucketCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { MultiKeyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { rewrapWithin } from "../../src/s3/rewrap.ts";
import {
  type EncryptS3ClientOptions,
  encryptS3Client,
  type RewrapOptions,
  rewrapObject,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sseC,
  sseS3,
} from "../../src/s3.ts";
import { threeAttempts } from "../support/retries.ts";
import { outcomeOf, readObject } from "../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const MiB = 2 ** 20;
const body = randomBytes(100_000);
const aes = (keyName: string) =>
  new RawAesKeyring({ keyNamespace: "n", keyName, wrappingKey: randomBytes(32) });
const [from, to] = [aes("1"), aes("2")];
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client(threeAttempts);
  await plain.send(new CreateBucketCommand({ Bucket }));
});
afterEach(() => {
  server.fault = () => undefined;
});
afterAll(() => server[Symbol.asyncDispose]());

type Options = Partial<EncryptS3ClientOptions>;
let number = 0;
const freshKey = (): string => `key-${++number}`;
async function put(options: Options, fields: Partial<PutObjectCommandInput> = {}): Promise<string> {
  const Key = freshKey();
  const client = encryptS3Client(plain, { keyring: from, partSize: 5 * MiB, ...options });
  await client.send(new PutObjectCommand({ Bucket, Key, Body: body, ...fields }));
  return Key;
}
const read = (Key: string, options: Options = {}): Promise<Buffer> =>
  readObject(encryptS3Client(plain, { keyring: to, ...options }), { Bucket, Key });
const rewrap = (key: string, options: Partial<RewrapOptions> = {}) =>
  rewrapObject(plain, { bucket: Bucket, key }, { from, to, ...options });
/** With limits of a copy that a small object exceeds. */
const rewrapInParts = (key: string) =>
  rewrapWithin(plain, { bucket: Bucket, key }, { from, to }, { copy: 1000, part: 5 * MiB });
const change = (key: string, headers: Readonly<Record<string, string | undefined>>): void => {
  const stored = server.object(Bucket, key);
  const changed = Object.entries({ ...stored.headers, ...headers }).filter(
    ([, value]) => value !== undefined,
  );
  server.buckets.get(Bucket)?.set(key, { ...stored, headers: Object.fromEntries(changed) as never });
};

const until = new Date(4e12);
const ways: Readonly<Record<string, { options: Options; run: (key: string) => ReturnType<typeof rewrap> }>> =
  {
    "a framed object": { options: {}, run: (key) => rewrap(key) },
    "an s3ec object by one copy": { options: { format: "s3ec-v3" }, run: (key) => rewrap(key) },
    "an s3ec object by a copy in parts": { options: { format: "s3ec-v3" }, run: rewrapInParts },
  };

describe.each(Object.keys(ways))("%s", (way) => {
  const { options, run } = ways[way] as (typeof ways)[string];

  test("keeps all that belongs to it", async () => {
    const key = await put(options, {
      ContentType: "text/x",
      CacheControl: "no-store",
      ContentDisposition: "attachment",
      ContentLanguage: "de",
      Expires: until,
      Metadata: { own: "1" },
      Tagging: "a=b%20c&d=",
      StorageClass: "STANDARD_IA",
      WebsiteRedirectLocation: "/elsewhere",
      ObjectLockMode: "GOVERNANCE",
      ObjectLockRetainUntilDate: until,
      ObjectLockLegalHoldStatus: "ON",
    });
    const before = server.object(Bucket, key).headers;
    expect(await run(key)).toMatchObject({ notKept: [] });
    const after = server.object(Bucket, key).headers;
    const kept = (headers: Readonly<Record<string, string>>) =>
      Object.fromEntries(
        Object.entries(headers).filter(([name]) => !/-(frameseal-keys|x-amz-.*)$/.test(name)),
      );
    const tags = (headers: Readonly<Record<string, string>>) => [
      ...new URLSearchParams(headers["x-amz-tagging"]),
    ];
    expect(tags(after)).toEqual([
      ["a", "b c"],
      ["d", ""],
    ]);
    expect({ ...kept(after), "x-amz-tagging": "" }).toEqual({ ...kept(before), "x-amz-tagging": "" });
    expect((await read(key)).equals(body)).toBe(true);
  });

  test("a retention that is over, and half of one, are not asked for; nor is a hold that is none", async () => {
    const mode = "x-amz-object-lock-mode";
    const date = "x-amz-object-lock-retain-until-date";
    for (const headers of [
      { [mode]: "COMPLIANCE", [date]: "2020-01-01T00:00:00Z", "x-amz-object-lock-legal-hold": "OFF" },
      { [mode]: "COMPLIANCE" },
      { [date]: "2096-01-01T00:00:00Z" },
    ]) {
      const key = await put(options);
      change(key, headers);
      await run(key);
      expect(Object.keys(server.object(Bucket, key).headers).filter((name) => /lock/.test(name))).toEqual([]);
    }
  });

  test.each([403, 404, 405, 501])("tags that cannot be read (%s) are told, not fatal", async (status) => {
    const key = await put(options);
    const refused: S3Fault = { kind: "error", status, code: "NotImplemented" };
    server.fault = ({ query }) => (query.has("tagging") ? refused : undefined);
    const { notKept } = await run(key);
    expect(notKept).toEqual(way.endsWith("one copy") ? [] : ["tags"]);
    expect((await read(key)).equals(body)).toBe(true);
  });

  test("tags that are there for certain are not lost", async () => {
    const key = await put(options, { Tagging: "a=b" });
    const before = server.object(Bucket, key);
    server.fault = ({ query }) =>
      query.has("tagging") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    if (way.endsWith("one copy")) return expect(await outcomeOf(run(key))).toBe("accepted");
    expect(await outcomeOf(run(key))).toBe("AccessDenied");
    expect(server.object(Bucket, key)).toBe(before);
    expect(server.uploads.size).toBe(0);
  });

  test("an archived object must be restored first", async () => {
    for (const storage of ["GLACIER", "DEEP_ARCHIVE"]) {
      const key = await put(options);
      change(key, { "x-amz-storage-class": storage });
      for (const restore of [undefined, 'ongoing-request="true"']) {
        change(key, { "x-amz-restore": restore });
        await expect(run(key)).rejects.toThrow(/restore it first/);
      }
      change(key, {
        "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 21 Dec 2096 00:00:00 GMT"',
      });
      await run(key);
      expect((await read(key)).equals(body)).toBe(true);
      expect(server.object(Bucket, key).headers["x-amz-storage-class"]).toBe(storage);
    }
  });

  test("an Expires that is no date is told", async () => {
    const key = await put(options);
    change(key, { expires: "never" });
    expect((await run(key)).notKept).toEqual(["expires"]);
  });

  test.each(["the object is replaced", "another object is created"])(
    "when %s meanwhile, nothing changes",
    async (what) => {
      const key = await put(options);
      const versionId = what === "another object is created" ? "null" : undefined;
      const newer = { ...server.object(Bucket, key), eTag: '"newer"' };
      let met = 0;
      server.fault = ({ method, key: called }) => {
        // After it was looked at for the last time.
        if (called === key && (method === "PUT" || method === "POST") && met++ === 0)
          server.buckets.get(Bucket)?.set(key, newer);
        return undefined;
      };
      const run = rewrapWithin(
        plain,
        { bucket: Bucket, key },
        { from, to, versionId },
        { copy: way.endsWith("parts") ? 1000 : 1e9, part: 5 * MiB },
      );
      expect(await outcomeOf(run)).toBe("PreconditionFailed");
      expect(server.object(Bucket, key)).toBe(newer);
      expect(server.uploads.size).toBe(0);
    },
  );

  test("what may not be seen is named", async () => {
    server.fault = () => ({ kind: "error", status: 403, code: "AccessDenied" });
    await expect(run("x")).rejects.toMatchObject({ name: "AccessDenied", message: /the object to rewrap/ });
    server.fault = () => undefined;
    await expect(run("nothing")).rejects.toMatchObject({ name: "NoSuchKey" });
  });
});

describe("a framed object", () => {
  test("keeps its context, frame length and suite", async () => {
    const encryptionContext = { backup: "daily", ä: "ö" };
    const key = await put({ encryptionContext, frameLength: 4096 });
    await rewrap(key);
    expect((await read(key, { encryptionContext: { backup: "daily" } })).equals(body)).toBe(true);
    expect(await outcomeOf(read(key, { encryptionContext: { backup: "weekly" } }))).not.toBe("accepted");
    expect(server.object(Bucket, key).headers["x-amz-meta-frameseal-frame-length"]).toBe("4096");
    const older = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT", suite: 0x0114 } as const;
    const other = await put(older);
    await rewrap(other, { commitmentPolicy: older.commitmentPolicy });
    expect(server.object(Bucket, other).headers["x-amz-meta-frameseal-suite"]).toBe("0x0114");
    expect((await read(other, { commitmentPolicy: older.commitmentPolicy })).equals(body)).toBe(true);
    // What the policy does not write any more becomes what it writes.
    const moved = await put(older);
    await rewrap(moved, { commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT" });
    expect(server.object(Bucket, moved).headers["x-amz-meta-frameseal-suite"]).toBe("0x0478");
  });

  test("keeps pairs that are not stored, as such", async () => {
    const encryptionContext = { tenant: "a", backup: "daily" };
    const key = await put({ encryptionContext, requiredEncryptionContextKeys: ["tenant"] });
    await rewrap(key, { encryptionContext: { tenant: "a" } });
    expect(server.object(Bucket, key).body.includes("tenant")).toBe(false);
    expect((await read(key, { encryptionContext })).equals(body)).toBe(true);
    expect(await outcomeOf(read(key, { encryptionContext: { backup: "daily" } }))).not.toBe("accepted");
  });

  test("has another context, frame length or binding when told so", async () => {
    const key = await put({ encryptionContext: { backup: "daily" }, frameLength: 4096, bind: "prefix" });
    await rewrap(key, { newEncryptionContext: { backup: "weekly" }, frameLength: 8192, bind: "prefix" });
    const options = { bind: "prefix", encryptionContext: { backup: "weekly" } } as const;
    expect((await read(key, options)).equals(body)).toBe(true);
    expect(server.object(Bucket, key).headers["x-amz-meta-frameseal-frame-length"]).toBe("8192");
  });

  test("keeps the coding of its content", async () => {
    const key = await put({}, { ContentEncoding: "gzip" });
    await rewrap(key);
    expect(server.object(Bucket, key).headers).toMatchObject({
      "x-amz-meta-frameseal-content-encoding": "gzip",
    });
  });

  test("needs no second connection", async () => {
    const long = randomBytes(24 * MiB);
    const key = await put({}, { Body: long });
    const narrow = server.client({ requestHandler: { httpAgent: { maxSockets: 1 } } });
    await rewrapObject(narrow, { bucket: Bucket, key }, { from, to });
    expect((await read(key)).equals(long)).toBe(true);
  });
});

describe("no envelope is replaced before its key is proven", () => {
  const policy = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;
  const pair = () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    return {
      publicKey,
      keyring: new RawRsaKeyring({
        keyNamespace: "n",
        keyName: "r",
        padding: "OAEP-SHA-1",
        publicKey,
        privateKey,
      }),
    };
  };
  const [right, wrong] = [pair(), pair()];
  const legacy = { ...policy, enableLegacyWrappingAlgorithms: true };

  // As an old client has wrapped it: no key fails to unwrap it.
  async function putPkcs1(): Promise<string> {
    const dataKey = randomBytes(32);
    const { createCipheriv } = await import("node:crypto");
    const iv = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", dataKey, iv);
    const Body = Buffer.concat([cipher.update(body), cipher.final(), cipher.getAuthTag()]);
    const wrapped = publicEncrypt({ key: right.publicKey, padding: constants.RSA_PKCS1_PADDING }, dataKey);
    const Key = freshKey();
    const Metadata = {
      "x-amz-key-v2": wrapped.toString("base64"),
      "x-amz-iv": iv.toString("base64"),
      "x-amz-cek-alg": "AES/GCM/NoPadding",
      "x-amz-wrap-alg": "RSA",
      "x-amz-matdesc": "{}",
      "x-amz-tag-len": "128",
    };
    await plain.send(new PutObjectCommand({ Bucket, Key, Body, Metadata }));
    return Key;
  }

  test("a wrap that cannot fail, opened with the wrong key", async () => {
    const key = await putPkcs1();
    const before = server.object(Bucket, key);
    expect(await outcomeOf(rewrap(key, { ...legacy, from: wrong.keyring }))).toBe("AUTHENTICATION_FAILED");
    expect(server.object(Bucket, key)).toBe(before);
  });

  test("with several keys, the one that is proven counts", async () => {
    for (const children of [
      [wrong.keyring, right.keyring],
      [right.keyring, wrong.keyring],
    ]) {
      const key = await putPkcs1();
      await rewrap(key, { ...legacy, from: new MultiKeyring({ children }) });
      expect((await read(key, policy)).equals(body)).toBe(true);
    }
  });

  test.each(["s3ec-v2", "s3ec-v3"] as const)("the envelope of another object, in %s", async (format) => {
    const options = format === "s3ec-v2" ? { format, ...policy } : { format };
    const reading = format === "s3ec-v2" ? policy : {};
    for (const instructionFiles of ["read", "write"] as const) {
      const [one, two] = [
        await put({ ...options, instructionFiles }),
        await put({ ...options, instructionFiles }),
      ];
      if (instructionFiles === "read") change(one, server.object(Bucket, two).headers);
      else server.buckets.get(Bucket)?.set(`${one}.instruction`, server.object(Bucket, `${two}.instruction`));
      // Of version 3, the whole envelope is that of the other object, so it commits to its own key.
      if (format === "s3ec-v3" && instructionFiles === "read") continue;
      const before = [server.object(Bucket, one), server.buckets.get(Bucket)?.get(`${one}.instruction`)];
      expect(await outcomeOf(rewrap(one, reading))).toBe("AUTHENTICATION_FAILED");
      expect(server.object(Bucket, one)).toBe(before[0]);
      expect(server.buckets.get(Bucket)?.get(`${one}.instruction`)).toBe(before[1]);
    }
  });
});

describe("an instruction file", () => {
  const options = { format: "s3ec-v3", instructionFiles: "write" } as const;

  test("keeps what it has", async () => {
    const key = await put(options, {
      Tagging: "a=b",
      StorageClass: "STANDARD_IA",
      ObjectLockLegalHoldStatus: "ON",
    });
    const before = server.object(Bucket, key);
    await rewrap(key);
    expect(server.object(Bucket, key)).toBe(before);
    expect(server.object(Bucket, `${key}.instruction`).headers).toMatchObject({
      "x-amz-tagging": "a=b",
      "x-amz-storage-class": "STANDARD_IA",
      "x-amz-object-lock-legal-hold": "ON",
    });
    expect((await read(key)).equals(body)).toBe(true);
  });

  test("that is replaced meanwhile, or whose object is, stays as it is", async () => {
    for (const replaced of ["", ".instruction"]) {
      const key = await put(options);
      const newer = { ...server.object(Bucket, `${key}${replaced}`), eTag: '"newer"' };
      let looked = 0;
      server.fault = ({ method, key: called }) => {
        if (method === "HEAD" && called === key && ++looked === 1)
          setImmediate(() => server.buckets.get(Bucket)?.set(`${key}${replaced}`, newer));
        return undefined;
      };
      const before = server.object(Bucket, `${key}.instruction`).body;
      // The file is seen after the object: it may be the newer one already, which is then replaced rightly.
      const outcome = await outcomeOf(rewrap(key));
      server.fault = () => undefined;
      if (replaced === "") expect(outcome).toBe("PreconditionFailed");
      if (outcome === "accepted") continue;
      expect(server.object(Bucket, `${key}.instruction`).body.equals(before)).toBe(true);
    }
    const key = await put(options);
    const before = { ...server.object(Bucket, `${key}.instruction`), eTag: '"newer"' };
    server.fault = ({ method, key: called }) => {
      if (method === "PUT" && called === `${key}.instruction`)
        server.buckets.get(Bucket)?.set(called, before);
      return undefined;
    };
    expect(await outcomeOf(rewrap(key))).toBe("PreconditionFailed");
    expect(server.object(Bucket, `${key}.instruction`)).toBe(before);
  });

  test("has a suffix that makes another key", async () => {
    const key = await put(options);
    for (const newInstructionFileSuffix of ["", "/../other"])
      await expect(rewrap(key, { newInstructionFileSuffix })).rejects.toThrow(TypeError);
    await rewrap(key, { newInstructionFileSuffix: ".partner" });
    await rewrap(key, { newInstructionFileSuffix: ".partner" });
    expect((await read(key, { instructionFileSuffix: ".partner" })).equals(body)).toBe(true);
  });
});

test.each([
  ["framed", {}],
  ["s3ec-v3", { format: "s3ec-v3" }],
  ["s3ec-v3 with a file", { format: "s3ec-v3", instructionFiles: "write" }],
] as const)("an object under a customer key stays under it: %s", async (_, options) => {
  const bucket = "customer";
  await plain.send(new CreateBucketCommand({ Bucket: bucket }));
  await setDefaultEncryption(plain, bucket, { encryption: sseS3(), customerKeys: "allow" });
  const client = serverSideEncryptS3Client(server.secureClient(threeAttempts), sseC(randomBytes(32)));
  const target = { Bucket: bucket, Key: "object" };
  await encryptS3Client(client, { keyring: from, ...options }).send(
    new PutObjectCommand({ ...target, Body: body }),
  );
  for (const limits of [
    { copy: 1e9, part: 5 * MiB },
    { copy: 1000, part: 5 * MiB },
  ]) {
    const keys = limits.copy > 1000 ? { from, to } : { from: to, to: from };
    await rewrapWithin(client, { bucket, key: "object" }, keys, limits);
    expect(server.object(bucket, "object").atRest.algorithm).toBe("SSE-C");
    const renewed = encryptS3Client(client, { keyring: keys.to });
    expect((await readObject(renewed, target)).equals(body)).toBe(true);
  }
});

describe("a copy in parts", () => {
  const limits = { copy: MiB, part: 5 * MiB };
  const large = randomBytes(26 * MiB);
  const isCopy = ({ query }: S3Call): boolean => query.has("partNumber");
  const isComplete = ({ method, query }: S3Call): boolean => method === "POST" && query.has("uploadId");
  const requests: Readonly<Record<string, (call: S3Call) => boolean>> = {
    CreateMultipartUpload: ({ query }) => query.has("uploads"),
    "the first UploadPartCopy": ({ query }) => query.get("partNumber") === "1",
    "the last UploadPartCopy": ({ query }) => query.get("partNumber") === "6",
    CompleteMultipartUpload: isComplete,
  };
  const denied = { kind: "error", status: 403, code: "AccessDenied" } as const;
  const start = (key: string, signal?: AbortSignal) =>
    rewrapWithin(plain, { bucket: Bucket, key }, { from, to, signal }, limits);
  const putLarge = () => put({ format: "s3ec-v3" }, { Body: large });

  test("sends some parts at a time, and no more", async () => {
    const key = await putLarge();
    let [now, most] = [0, 0];
    server.delay = async (call) => {
      if (!isCopy(call)) return;
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 50));
      now -= 1;
    };
    await start(key);
    server.delay = async () => {};
    expect(most).toBe(4);
    expect((await read(key)).equals(large)).toBe(true);
  });

  test.each(Object.keys(requests))(
    "a refusal of %s leaves no upload and the object as it is",
    async (name) => {
      const key = await putLarge();
      const before = server.object(Bucket, key);
      server.fault = (call) => (requests[name]?.(call) === true ? denied : undefined);
      expect(await outcomeOf(start(key))).toBe("AccessDenied");
      expect(server.uploads.size).toBe(0);
      expect(server.object(Bucket, key)).toBe(before);
    },
  );

  test.each(Object.keys(requests))("an abort at %s leaves no upload", async (name) => {
    const key = await putLarge();
    const before = server.object(Bucket, key);
    const controller = new AbortController();
    server.fault = (call) => {
      if (requests[name]?.(call) !== true) return undefined;
      controller.abort();
      return { kind: "stall" };
    };
    expect(await outcomeOf(start(key, controller.signal))).toBe("ABORTED");
    expect(server.uploads.size).toBe(0);
    expect(server.object(Bucket, key)).toBe(before);
  });

  test("an upload that cannot be aborted is named by the error", async () => {
    const key = await putLarge();
    server.fault = (call) =>
      requests["the last UploadPartCopy"]?.(call) === true || call.method === "DELETE" ? denied : undefined;
    const failed = start(key);
    await expect(failed).rejects.toThrow(/could not be aborted/);
    await expect(failed).rejects.toMatchObject({ uploadId: [...server.uploads.keys()][0] });
    server.uploads.clear();
  });

  test("is completed where an answer is lost, and where no conditions are known", async () => {
    for (const fault of [
      { kind: "reset", after: true },
      { kind: "error", status: 500, code: "InternalError", after: true },
      { kind: "error", status: 501, code: "NotImplemented" },
    ] as const) {
      const key = await putLarge();
      server.fault = (call) =>
        isComplete(call) && (fault.kind === "reset" || fault.status === 500 || "if-match" in call.headers)
          ? fault
          : undefined;
      await start(key);
      expect(server.uploads.size).toBe(0);
      server.fault = () => undefined;
      expect((await read(key)).equals(large)).toBe(true);
    }
  });
});
