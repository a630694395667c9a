// New master keys for stored objects: what opens afterwards, what does not, and what stays as it was.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { CreateBucketCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { rewrapWithin } from "../../src/s3/rewrap.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../src/s3.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { outcomeOf, readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const bucket = "bucket";
const body = randomBytes(100_000);
const names = { keyNamespace: "n", keyName: "k" };
let server: S3Server;
let kms: FakeKms;
let plain: S3Client;
let keyrings: Readonly<Record<string, Keyring>>;

beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket: bucket }));
  const rsa = () => generateKeyPairSync("rsa", { modulusLength: 2048 });
  keyrings = {
    aes: new RawAesKeyring({ ...names, wrappingKey: randomBytes(32), materialDescription: { year: "1" } }),
    aes2: new RawAesKeyring({
      ...names,
      keyName: "2",
      wrappingKey: randomBytes(32),
      materialDescription: { year: "2" },
    }),
    rsa: new RawRsaKeyring({ ...names, ...rsa(), padding: "OAEP-SHA-1" }),
    rsa2: new RawRsaKeyring({ ...names, keyName: "2", ...rsa(), padding: "OAEP-SHA-1" }),
    kms: new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() }),
    kms2: new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() }),
  };
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const keyring = (name: string): Keyring => keyrings[name] as Keyring;
const open = (key: string, options: EncryptS3ClientOptions): Promise<Buffer> =>
  readObject(encryptS3Client(plain, options), { Bucket: bucket, Key: key });
const describing = { ContentType: "text/x", CacheControl: "no-store", Metadata: { own: "1" } };

const kinds = (["s3ec-v2", "s3ec-v3", "framed"] as const).flatMap((format) =>
  [
    ["aes", "aes2"],
    ["aes", "rsa"],
    ["rsa", "rsa2"],
    ["rsa", "kms"],
    ["kms", "kms2"],
    ["kms", "aes"],
  ].map(([from = "", to = ""]) => [format, from, to] as const),
);

describe.each(kinds)("%s from %s to %s", (format, from, to) => {
  const commitmentPolicy =
    format === "s3ec-v2" ? "FORBID_ENCRYPT_ALLOW_DECRYPT" : "REQUIRE_ENCRYPT_REQUIRE_DECRYPT";
  const options = { format, commitmentPolicy } as const;
  const put = (key: string, more: Partial<EncryptS3ClientOptions> = {}) =>
    encryptS3Client(plain, { ...options, keyring: keyring(from), ...more }).send(
      new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, ...describing }),
    );
  const change = { from, to } as const;
  const keys = () => ({ from: keyring(from), to: keyring(to), enforceRotation: true });

  test("the body stays, the old key no longer opens it", async () => {
    const key = `${format} ${from} ${to}/ä`;
    await put(key);
    const before = server.object(bucket, key);
    const result = await rewrapObject(plain, { bucket, key }, { ...keys(), ...withoutFormat(options) });
    const after = server.object(bucket, key);
    expect(result.change).toBe(format === "framed" ? "re-encrypted" : "metadata");
    expect(after.body.equals(before.body)).toBe(format !== "framed");
    expect(after.headers).toMatchObject({
      "content-type": "text/x",
      "cache-control": "no-store",
      "x-amz-meta-own": "1",
    });
    expect((await open(key, { ...options, keyring: keyring(change.to) })).equals(body)).toBe(true);
    expect(await outcomeOf(open(key, { ...options, keyring: keyring(change.from) }))).not.toBe("accepted");
  });

  test.runIf(format !== "framed")(
    "in parts, where one copy is not enough; and when replaced meanwhile",
    async () => {
      const key = `${format} ${from} ${to}/parts`;
      const limits = { copy: 6 * 2 ** 20, part: 5 * 2 ** 20 };
      const large = randomBytes(12 * 2 ** 20);
      await encryptS3Client(plain, { ...options, keyring: keyring(from) }).send(
        new PutObjectCommand({ Bucket: bucket, Key: key, Body: large, ...describing }),
      );
      const wrapping = () =>
        rewrapWithin(plain, { bucket, key }, { ...keys(), ...withoutFormat(options) }, limits);
      await wrapping();
      expect((await open(key, { ...options, keyring: keyring(to) })).equals(large)).toBe(true);
      expect(server.object(bucket, key).headers).toMatchObject({ "content-type": "text/x" });
      await put(key);
      await encryptS3Client(plain, { ...options, keyring: keyring(from) }).send(
        new PutObjectCommand({ Bucket: bucket, Key: key, Body: large }),
      );
      server.fault = ({ query, method }) => {
        if (method === "POST" && query.has("uploadId"))
          server.buckets.get(bucket)?.set(key, { ...server.object(bucket, key), eTag: '"other"' });
        return undefined;
      };
      expect(await outcomeOf(wrapping())).toBe("PreconditionFailed");
      server.fault = () => undefined;
      expect(server.uploads.size).toBe(0);
    },
  );

  test.runIf(format !== "framed")("in an instruction file, without touching the object", async () => {
    const key = `${format} ${from} ${to}/file`;
    await put(key, { instructionFiles: "write" });
    const before = server.object(bucket, key);
    const calls = server.calls.length;
    const result = await rewrapObject(
      plain,
      { bucket, key },
      { ...keys(), ...withoutFormat(options), newInstructionFileSuffix: ".for-partner" },
    );
    expect(result).toMatchObject({ change: "instruction-file", instructionFileKey: `${key}.for-partner` });
    expect(server.object(bucket, key)).toBe(before);
    // Only what nothing but its tag proves is read.
    const reads = server.calls.slice(calls).filter((call) => call.method === "GET" && call.key === key);
    expect(reads.length).toBe(format === "s3ec-v2" ? 1 : 0);
    const suffix = { instructionFileSuffix: ".for-partner" };
    expect((await open(key, { ...options, keyring: keyring(to), ...suffix })).equals(body)).toBe(true);
    expect(await outcomeOf(open(key, { ...options, keyring: keyring(from), ...suffix }))).not.toBe(
      "accepted",
    );
    expect((await open(key, { ...options, keyring: keyring(from) })).equals(body)).toBe(true);
    await rewrapObject(plain, { bucket, key }, { ...keys(), ...withoutFormat(options) });
    expect(await outcomeOf(open(key, { ...options, keyring: keyring(from) }))).not.toBe("accepted");
  });

  test("a key that did not open it, and one that still does, change nothing", async () => {
    const key = `${format} ${from} ${to}/refused`;
    await put(key);
    const before = server.object(bucket, key);
    const wrong = { from: keyring(to), to: keyring(from) };
    expect(
      await outcomeOf(rewrapObject(plain, { bucket, key }, { ...wrong, ...withoutFormat(options) })),
    ).not.toBe("accepted");
    const same = { from: keyring(from), to: keyring(from), enforceRotation: true };
    expect(
      await outcomeOf(rewrapObject(plain, { bucket, key }, { ...same, ...withoutFormat(options) })),
    ).toBe("POLICY");
    expect(server.object(bucket, key)).toBe(before);
  });
});

function withoutFormat<T extends { readonly format: unknown }>({ format: _, ...rest }: T): Omit<T, "format"> {
  return rest;
}

test("the plain client is demanded", async () => {
  const client = encryptS3Client(plain, { keyring: keyring("aes") });
  const options = { from: keyring("aes"), to: keyring("aes2") };
  await expect(rewrapObject(client, { bucket, key: "x" }, options)).rejects.toThrow(TypeError);
});
