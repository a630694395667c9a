// Objects of the S3 Encryption Clients through the encrypting client, against an independent S3 server, a strict KMS and
// an independent reader.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { DecryptCommand } from "@aws-sdk/client-kms";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  CachingKeyring,
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
} from "../../../src/index.ts";
import { KmsKeyring } from "../../../src/kms.ts";
import {
  type EncryptS3ClientOptions,
  encryptS3Client,
  exportMultipartUpload,
  importMultipartUpload,
} from "../../../src/s3.ts";
import { engineNames } from "../../message/fixtures.ts";
import { ACCOUNT, FakeKms } from "../../support/fake-kms.ts";
import { FULL } from "../../support/full.ts";
import { getObject, outcomeOf } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";
import { openByOracle } from "./s3ec-oracle.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const P = 5 * 2 ** 20;
const Bucket = "bucket";
const data = randomBytes(3 * P + 5);
const names = { keyNamespace: "n", keyName: "k" };
const wrappingKey = randomBytes(32);
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

let server: S3Server;
let kms: FakeKms;
let plain: S3Client;
let keyrings: Readonly<Record<string, Keyring>>;

beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
  keyrings = {
    aes: new RawAesKeyring({ ...names, wrappingKey, materialDescription: { name: "Schlüssel 鍵" } }),
    rsa: new RawRsaKeyring({ ...names, privateKey, publicKey, padding: "OAEP-SHA-256" }),
    kms: new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() }),
  };
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const policies = {
  "s3ec-v2": "FORBID_ENCRYPT_ALLOW_DECRYPT",
  "s3ec-v3": "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
} as const;

function clientFor(
  format: "s3ec-v2" | "s3ec-v3",
  key: string,
  more: Partial<EncryptS3ClientOptions> = {},
): S3Client {
  return encryptS3Client(plain, {
    keyring: keyrings[key] as Keyring,
    format,
    commitmentPolicy: policies[format],
    partSize: P,
    ...(key === "kms" ? { encryptionContext: { team: "α", job: "1" } } : {}),
    ...more,
  });
}

const stream = (bytes: Uint8Array): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    })(),
    { objectMode: false },
  );

const get = (from: S3Client, Key: string, Range?: string) => getObject(from, { Bucket, Key, Range });

async function byHand(client: S3Client, Key: string, bytes: Buffer): Promise<void> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const count = Math.max(1, Math.ceil(bytes.length / P));
  const parts: { ETag: string | undefined; PartNumber: number }[] = [];
  const order = [1, ...Array.from({ length: count - 1 }, (_, index) => count - index), 1];
  for (const PartNumber of order) {
    const Body = bytes.subarray((PartNumber - 1) * P, PartNumber * P);
    const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    parts[PartNumber - 1] = { ETag, PartNumber };
  }
  const MultipartUpload = { Parts: parts };
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
}

const ways: Readonly<Record<string, (client: S3Client, Key: string, bytes: Buffer) => Promise<unknown>>> = {
  buffer: (client, Key, Body) =>
    client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: { own: "x" } })),
  stream: (client, Key, bytes) => client.send(new PutObjectCommand({ Bucket, Key, Body: stream(bytes) })),
  Upload: (client, Key, bytes) =>
    new Upload({ client, partSize: P, params: { Bucket, Key, Body: stream(bytes) } }).done(),
  "parts by hand": byHand,
};
const short = FULL ? Array.from({ length: 26 }, (_, length) => length) : [0, 1, 15, 16, 17];
const long = FULL ? [2 ** 20, P - 1, P, P + 1, 3 * P, 3 * P + 5] : [P + 1];

function readByOracle(entries: Readonly<Record<string, string>>, body: Buffer): Promise<Buffer> {
  return openByOracle(entries, body, {
    aes: wrappingKey,
    rsa: privateKey,
    unwrapKms: async (CiphertextBlob, EncryptionContext) => {
      const { Plaintext } = await kms
        .client()
        .send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
      return Plaintext ?? new Uint8Array(0);
    },
  });
}

const kinds = (["s3ec-v2", "s3ec-v3"] as const).flatMap((format) =>
  ["aes", "rsa", "kms"].map((key) => [format, key] as const),
);

describe.each(kinds)("%s, %s", (format, key) => {
  test.each(Object.keys(ways))("by %s", { timeout: 60_000 }, async (way) => {
    const client = clientFor(format, key);
    const reader = clientFor(format, key, { enableLegacyUnauthenticatedModes: true });
    for (const length of way === "buffer" ? [...short, ...long] : [0, 1, 16, ...long]) {
      const bytes = data.subarray(0, length);
      const Key = `${format}/${key}/${way}/${length}`;
      await ways[way]?.(client, Key, bytes);
      const whole = await get(client, Key);
      expect(whole.bytes.equals(bytes), Key).toBe(true);
      expect(whole.ContentLength).toBe(length);
      expect(whole.Metadata).toEqual(way === "buffer" ? { own: "x" } : {});
      expect((await client.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(length);
      const stored = await get(plain, Key);
      expect(stored.bytes.length).toBe(length + 16);
      expect((await readByOracle(stored.Metadata ?? {}, stored.bytes)).equals(bytes), Key).toBe(true);
      for (const [first, last] of [
        [0, 0],
        [0, length - 1],
        [length - 1, length - 1],
        [15, 16],
        [P - 1, P + 20],
        [7, length + 100],
      ] as const) {
        const range = `bytes=${first}-${last}`;
        if (first < 0 || last < first) continue;
        if (first >= length) expect(await outcomeOf(get(reader, Key, range))).toBe("RANGE_NOT_SATISFIABLE");
        else
          expect((await get(reader, Key, range)).bytes.equals(bytes.subarray(first, last + 1)), range).toBe(
            true,
          );
      }
      expect(await outcomeOf(get(client, Key, "bytes=0-0"))).toBe("POLICY");
    }
  });

  test("every mode, also for a body longer than the buffer", async () => {
    const Key = `${format}/${key}/modes`;
    const bytes = data.subarray(0, 2 * P + 3);
    await clientFor(format, key).send(new PutObjectCommand({ Bucket, Key, Body: bytes }));
    for (const authentication of ["verified", "buffered", "two-pass", "delayed"] as const)
      for (const engine of engineNames)
        expect((await get(clientFor(format, key, { authentication, engine }), Key)).bytes.equals(bytes)).toBe(
          true,
        );
    const small = { bufferSize: P };
    expect((await get(clientFor(format, key, small), Key)).bytes.equals(bytes)).toBe(true);
    expect(await outcomeOf(get(clientFor(format, key, { ...small, authentication: "buffered" }), Key))).toBe(
      "LIMIT_EXCEEDED",
    );
  });

  test("an instruction file", async () => {
    const client = clientFor(format, key, { instructionFiles: "write" });
    const Key = `${format}/${key}/file`;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: data.subarray(0, 1000) }));
    const reader = clientFor(format, key);
    expect((await get(reader, Key)).bytes.equals(data.subarray(0, 1000))).toBe(true);
    expect((await reader.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(1000);
    const stored = await get(plain, Key);
    const file = await get(plain, `${Key}.instruction`);
    expect(file.Metadata).toEqual({ "x-amz-crypto-instr-file": "" });
    expect(Object.keys(stored.Metadata ?? {}).sort()).toEqual(
      format === "s3ec-v3" ? ["x-amz-c", "x-amz-d", "x-amz-i"] : [],
    );
    const entries = { ...stored.Metadata, ...(JSON.parse(file.bytes.toString()) as Record<string, string>) };
    expect((await readByOracle(entries, stored.bytes)).equals(data.subarray(0, 1000))).toBe(true);
    expect(await outcomeOf(get(clientFor(format, key, { instructionFiles: "ignore" }), Key))).not.toBe(
      "accepted",
    );
    const copy = new CopyObjectCommand({ Bucket, Key: `${Key}-copy`, CopySource: `${Bucket}/${Key}` });
    expect(await outcomeOf(client.send(copy))).toBe("POLICY");
    await client.send(new DeleteObjectCommand({ Bucket, Key }));
    expect(await outcomeOf(get(plain, `${Key}.instruction`))).toBe("NoSuchKey");
  });

  test("a copy, with new metadata or without", async () => {
    const client = clientFor(format, key);
    const Key = `${format}/${key}/original`;
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "text", Metadata: { a: "1" } }));
    const CopySource = `${Bucket}/${Key}`;
    await client.send(new CopyObjectCommand({ Bucket, Key: `${Key}-1`, CopySource }));
    const replace = { MetadataDirective: "REPLACE", Metadata: { b: "2" } } as const;
    await client.send(new CopyObjectCommand({ Bucket, Key: `${Key}-2`, CopySource, ...replace }));
    const [first, second] = [await get(client, `${Key}-1`), await get(client, `${Key}-2`)];
    expect([first.bytes.toString(), first.Metadata]).toEqual(["text", { a: "1" }]);
    expect([second.bytes.toString(), second.Metadata]).toEqual(["text", { b: "2" }]);
  });

  test("an upload that another process finishes", async () => {
    const [one, other] = [clientFor(format, key), clientFor(format, key)];
    const Key = `${format}/${key}/handed over`;
    const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const part = async (client: S3Client, PartNumber: number) => {
      const Body = data.subarray((PartNumber - 1) * P, PartNumber * P);
      const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
      return { ETag, PartNumber };
    };
    const parts = [await part(one, 1), await part(one, 2)];
    const state = await exportMultipartUpload(one, UploadId ?? "");
    const text = JSON.stringify(state);
    for (const dataKey of kms.dataKeys) expect(text).not.toContain(dataKey.toString("base64"));
    await importMultipartUpload(other, JSON.parse(text));
    parts.push(await part(other, 3), await part(other, 4));
    const MultipartUpload = { Parts: parts };
    await other.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
    expect((await get(one, Key)).bytes.equals(data)).toBe(true);
  });
});

describe("what a server cannot do", () => {
  const Key = "two-pass";
  const bytes = data.subarray(0, 3 * 2 ** 20 + 100);
  const reader = (more: Partial<EncryptS3ClientOptions> = {}) =>
    clientFor("s3ec-v3", "aes", { authentication: "two-pass", ...more });
  /** Reads until the stream ends or fails: what was released, and the code of the failure. */
  async function drain(client: S3Client): Promise<{ released: Buffer; code: string }> {
    const chunks: Buffer[] = [];
    try {
      const output = await client.send(new GetObjectCommand({ Bucket, Key }));
      for await (const chunk of output.Body as AsyncIterable<Buffer>) chunks.push(chunk);
      return { released: Buffer.concat(chunks), code: "" };
    } catch (error) {
      const { code: ours, name } = error as { code?: string; name: string };
      return { released: Buffer.concat(chunks), code: ours ?? name };
    }
  }
  beforeAll(async () => {
    await clientFor("s3ec-v3", "aes").send(new PutObjectCommand({ Bucket, Key, Body: bytes }));
  });
  afterEach(() => {
    server.fault = () => undefined;
  });
  const readings = (call: { method: string; key: string }): boolean =>
    call.method === "GET" && call.key === Key;

  test.each([0, 2 ** 20 + 5, 3 * 2 ** 20 + 99])("change byte %i between the passes", async (at) => {
    let reading = 0;
    server.fault = (call) => (readings(call) && ++reading === 2 ? { kind: "flip", at } : undefined);
    const { released, code } = await drain(reader());
    expect(code).toBe("AUTHENTICATION_FAILED");
    expect(released.length).toBe(Math.floor(at / 2 ** 18) * 2 ** 18);
    expect(released.equals(bytes.subarray(0, released.length))).toBe(true);
  });

  test.each(["two-pass", "buffered", "delayed"] as const)(
    "change a byte before the tag is known (%s)",
    async (authentication) => {
      server.fault = (call) => (readings(call) ? { kind: "flip", at: 100 } : undefined);
      const { released, code } = await drain(clientFor("s3ec-v3", "aes", { authentication }));
      expect(code).toBe("AUTHENTICATION_FAILED");
      if (authentication !== "delayed") expect(released.length).toBe(0);
    },
  );

  test("replace the object between the passes", async () => {
    let reading = 0;
    const before = server.object(Bucket, Key);
    server.fault = (call) => {
      if (readings(call) && ++reading === 2)
        server.buckets.get(Bucket)?.set(Key, { ...before, eTag: '"other"' });
      return undefined;
    };
    const { released, code } = await drain(reader());
    server.buckets.get(Bucket)?.set(Key, before);
    expect(code).toBe("PreconditionFailed");
    expect(released.length).toBe(0);
  });

  test.each([1, 2])("break off pass %i for good", async (number) => {
    let reading = 0;
    server.fault = (call) =>
      readings(call) && ++reading === number ? { kind: "cut", at: 2 ** 20 + 7 } : undefined;
    const { released, code } = await drain(reader({ readRetries: 0 }));
    expect(code).toBe("NETWORK");
    expect(released.equals(bytes.subarray(0, released.length))).toBe(true);
    if (number === 1) expect(released.length).toBe(0);
  });
});

test("more than one GCM message can hold is refused before the first byte", async () => {
  const calls = [server.calls.length, kms.calls.length];
  const put = new PutObjectCommand({ Bucket, Key: "x", Body: stream(data), ContentLength: 2 ** 36 - 31 });
  expect(await outcomeOf(clientFor("s3ec-v3", "kms").send(put))).toBe("LIMIT_EXCEEDED");
  expect([server.calls.length, kms.calls.length]).toEqual(calls);
});

test("several raw keys: the description chooses, and none of them opens what another has wrapped", async () => {
  const make = (n: string, description = { n }) =>
    new RawAesKeyring({ ...names, wrappingKey: randomBytes(32), materialDescription: description });
  const [one, two, three] = [make("1"), make("2"), make("3")] as const;
  for (const keyring of [one, two, three])
    await clientFor("s3ec-v3", "aes", { keyring }).send(
      new PutObjectCommand({ Bucket, Key: "several", Body: "x" }),
    );
  const both = new MultiKeyring({ children: [one, three] });
  expect(
    (
      await get(
        clientFor("s3ec-v3", "aes", { keyring: new MultiKeyring({ generator: one, children: [three] }) }),
        "several",
      )
    ).bytes.toString(),
  ).toBe("x");
  await expect(async () => clientFor("s3ec-v3", "aes", { keyring: both })).rejects.toMatchObject({
    code: "NO_DATA_KEY",
  });
  const without = new MultiKeyring({ generator: one, children: [two] });
  expect(await outcomeOf(get(clientFor("s3ec-v3", "aes", { keyring: without }), "several"))).toBe(
    "AUTHENTICATION_FAILED",
  );
  // The same description on another key does not help.
  const pretender = make("x", { n: "3" });
  expect(await outcomeOf(get(clientFor("s3ec-v3", "aes", { keyring: pretender }), "several"))).toBe(
    "AUTHENTICATION_FAILED",
  );
});

test.each([
  [
    "a reserved pair of the context",
    { keyring: "kms", encryptionContext: { "aws:x-amz-cek-alg": "115" } },
    TypeError,
  ],
  ["a context with a raw key", { keyring: "aes", encryptionContext: { a: "b" } }, "POLICY"],
  [
    "version 2 under the default policy",
    { keyring: "aes", format: "s3ec-v2", commitmentPolicy: undefined },
    "POLICY",
  ],
  [
    "version 3 under the policy that forbids it",
    { keyring: "aes", commitmentPolicy: policies["s3ec-v2"] },
    "POLICY",
  ],
  ["a binding to the key", { keyring: "aes", bind: "key" }, "POLICY"],
  ["an unknown mode", { keyring: "aes", authentication: "none" }, TypeError],
  ["an unknown format", { keyring: "aes", format: "s3ec-v4" }, TypeError],
  ["a buffer of less than nothing", { keyring: "aes", bufferSize: -1 }, RangeError],
] as const)("%s is refused when the client is made", (_, { keyring, ...wrong }, expected) => {
  const make = () => clientFor("s3ec-v3", keyring, wrong as never);
  if (typeof expected === "string") expect(make).toThrow(expect.objectContaining({ code: expected }));
  else expect(make).toThrow(expected);
});

test("metadata of the formats cannot be set by the caller, and V3 holds no name of older versions", async () => {
  const client = clientFor("s3ec-v3", "aes");
  const put = new PutObjectCommand({ Bucket, Key: "x", Body: "x", Metadata: { "X-Amz-Key-V2": "x" } });
  await expect(client.send(put)).rejects.toThrow(TypeError);
  await client.send(new PutObjectCommand({ Bucket, Key: "names", Body: "x" }));
  const metadata = Object.keys(server.object(Bucket, "names").headers).filter((name) =>
    name.startsWith("x-amz-meta-"),
  );
  expect(metadata.sort()).toEqual(["3", "c", "d", "i", "m", "w"].map((name) => `x-amz-meta-x-amz-${name}`));
});

test("who may not list the bucket reads framed objects without hints, and is refused plain ones", async () => {
  const framed = encryptS3Client(plain, { keyring: keyrings.aes as Keyring });
  await framed.send(new PutObjectCommand({ Bucket, Key: "no hints", Body: "text" }));
  const { body } = server.object(Bucket, "no hints");
  await plain.send(new PutObjectCommand({ Bucket, Key: "no hints", Body: body }));
  await plain.send(new PutObjectCommand({ Bucket, Key: "plain", Body: "clear text" }));
  server.fault = ({ key }) =>
    key.endsWith(".instruction") ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  try {
    expect((await get(framed, "no hints")).bytes.toString()).toBe("text");
    expect(await outcomeOf(get(framed, "plain"))).toBe("NOT_ENCRYPTED");
  } finally {
    server.fault = () => undefined;
  }
});

test("KMS discovery opens what a key of an allowed account has wrapped, and nothing else", async () => {
  await clientFor("s3ec-v3", "kms").send(new PutObjectCommand({ Bucket, Key: "discovery", Body: "text" }));
  const discovering = (account: string) =>
    clientFor("s3ec-v3", "kms", {
      format: "framed",
      keyring: new KmsKeyring({
        client: kms.client(),
        discovery: { partition: "aws", accountIds: [account] },
      }),
    });
  expect((await get(discovering(ACCOUNT), "discovery")).bytes.toString()).toBe("text");
  expect(await outcomeOf(get(discovering("999999999999"), "discovery"))).toBe("KEY_SERVICE");
});

test("a cache is passed by: every object has a data key of its own", async () => {
  const keyring = new CachingKeyring({ keyring: keyrings.kms as Keyring, maxAgeMs: 60_000 });
  const client = clientFor("s3ec-v3", "kms", { keyring });
  const calls = kms.count("GenerateDataKey");
  for (const Key of ["cached 1", "cached 2"]) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "text" }));
    expect((await get(client, Key)).bytes.toString()).toBe("text");
  }
  expect(kms.count("GenerateDataKey")).toBe(calls + 2);
});
