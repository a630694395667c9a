// Lengths that HeadObject and GetObjectAttributes tell: they fit the plaintext whatever the metadata says, or what
// follows from them fails.
import { randomBytes } from "node:crypto";
import {
  CreateBucketCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server, type StoredS3Object } from "../../support/s3-server.ts";
import vectors from "../../vectors/s3ec-objects.json" with { type: "json" };

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const data = randomBytes(300_000);
const prefix = "x-amz-meta-frameseal-";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
});
afterAll(() => server[Symbol.asyncDispose]());

const clientFor = (options: Partial<EncryptS3ClientOptions> = {}): S3Client =>
  encryptS3Client(plain, { keyring, ...options });
const put = (client: S3Client, Key: string, Body: Buffer | string, more: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, ...more }));
const lengthOf = async (client: S3Client, Key: string): Promise<number | undefined> =>
  (await client.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength;
const requestsOf = async (work: () => Promise<unknown>): Promise<string[]> => {
  const before = server.calls.length;
  await work();
  return server.calls.slice(before).map(({ method }) => method);
};
/** Changes the hints of a stored object, as anybody can who may write to the bucket. */
function forge(Key: string, hints: Readonly<Record<string, string | undefined>>): void {
  const stored = server.object(Bucket, Key);
  const headers: Record<string, string> = { ...stored.headers };
  for (const [name, value] of Object.entries(hints)) {
    delete headers[prefix + name];
    if (value !== undefined) headers[prefix + name] = value;
  }
  server.buckets.get(Bucket)?.set(Key, { ...stored, headers });
}
const hintOf = ({ headers }: StoredS3Object, name: string): string => String(headers[prefix + name]);

describe("HeadObject", () => {
  const writers: Record<string, Partial<EncryptS3ClientOptions>> = {
    default: {},
    "small frames": { frameLength: 4096 },
    "a context": { encryptionContext: { team: "α" } },
    "bound to the prefix": { bind: "prefix" },
    "not bound": { bind: "none" },
    "s3ec-v3": { format: "s3ec-v3" },
    "s3ec-v3 with instruction files": { format: "s3ec-v3", instructionFiles: "write" },
    "version 1 of the message": { suite: 0x0178, commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" },
  };
  test.each(Object.entries(writers))(
    "%s: the length of the plaintext, for every length",
    async (name, options) => {
      for (const length of [0, 1, 15, 16, 4095, 4096, 65_535, 65_536, 65_537, 131_072, 300_000]) {
        const Key = `${name}/é/${length}`;
        await put(clientFor(options), Key, data.subarray(0, length));
        expect([length, await lengthOf(clientFor(options), Key)]).toEqual([length, length]);
      }
    },
  );

  test("hints spare the request for the header once one of its kind was seen", async () => {
    const writer = clientFor();
    for (const Key of ["spared/1", "spared/longer name"]) await put(writer, Key, data);
    expect(await requestsOf(() => lengthOf(writer, "spared/1"))).toEqual(["HEAD"]);
    const reader = clientFor();
    expect(await requestsOf(() => lengthOf(reader, "spared/1"))).toEqual(["HEAD", "GET"]);
    expect(await requestsOf(() => lengthOf(reader, "spared/longer name"))).toEqual(["HEAD"]);
  });

  const forged = [
    "1",
    "16",
    "160",
    "161",
    "4096",
    "65536",
    "65552",
    "131072",
    "0x0178",
    "-1",
    "x",
    undefined,
  ];
  test.each(["format", "header-length", "frame-length", "suite", "keys"])(
    "a changed %s does not make it lie",
    async (name) => {
      const client = clientFor();
      for (const value of forged) {
        const Key = `forged/${name}`;
        await put(client, Key, data);
        if (hintOf(server.object(Bucket, Key), name) === value) continue;
        forge(Key, { [name]: value });
        const head = lengthOf(client, Key);
        if (name === "format" && value !== undefined) expect(await outcomeOf(head)).toBe("INVALID_METADATA");
        else expect(await head, `${name} ${value}`).toBe(data.length);
      }
    },
  );

  test("an object that cannot be read, as archived ones, has the length that its hints tell", async () => {
    await put(clientFor(), "archived", data);
    server.fault = ({ method }) =>
      method === "GET" ? { kind: "error", status: 403, code: "InvalidObjectState" } : undefined;
    try {
      expect(await lengthOf(clientFor(), "archived")).toBe(data.length);
    } finally {
      server.fault = () => undefined;
    }
  });
});

describe("a download in ranges that HeadObject has led astray", () => {
  const N = data.length;
  /** What transfer managers do. */
  async function download(client: S3Client, Key: string): Promise<Buffer> {
    const length = (await lengthOf(client, Key)) ?? 0;
    const ranges: Promise<Buffer>[] = [];
    for (let at = 0; at < length; at += 100_000)
      ranges.push(
        readObject(client, { Bucket, Key, Range: `bytes=${at}-${Math.min(length, at + 100_000) - 1}` }),
      );
    return Buffer.concat(await Promise.all(ranges));
  }

  test("fails, also when a range is tried again, until HeadObject was asked again", async () => {
    // The hints claim what this client writes, so they are believed; the object was written otherwise.
    const client = clientFor();
    await put(client, "astray", data);
    const honest = server.object(Bucket, "astray");
    await put(clientFor({ frameLength: 1024 }), "astray", data);
    forge("astray", {
      "header-length": hintOf(honest, "header-length"),
      "frame-length": hintOf(honest, "frame-length"),
    });
    const told = await lengthOf(client, "astray");
    expect(told).not.toBe(N);
    for (let attempt = 0; attempt < 2; attempt++) {
      const range = readObject(client, { Bucket, Key: "astray", Range: "bytes=0-99" });
      expect(await outcomeOf(range)).toBe("INVALID_METADATA");
    }
    expect((await download(client, "astray")).equals(data)).toBe(true);
    expect((await readObject(client, { Bucket, Key: "astray" })).equals(data)).toBe(true);
  });

  test("works when nothing was forged, and after the object was replaced", async () => {
    const client = clientFor();
    for (const length of [N, 5, 200_000]) {
      await put(client, "again", data.subarray(0, length));
      expect((await download(client, "again")).equals(data.subarray(0, length))).toBe(true);
    }
  });
});

describe("AES/CBC, whose length only its padding tells", () => {
  const found = vectors.find(({ name }) => name === "Java SDK 1, s3ec-v1, aes, 17 bytes");
  const Key = "cbc";
  const client = (): S3Client =>
    encryptS3Client(plain, {
      keyring: new RawAesKeyring({
        keyNamespace: "n",
        keyName: "k",
        wrappingKey: Buffer.from(found?.aesKey ?? "", "base64"),
      }),
      commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
      enableLegacyWrappingAlgorithms: true,
      enableLegacyUnauthenticatedModes: true,
    });
  const store = (length: string | undefined) => {
    const { "x-amz-unencrypted-content-length": _, ...rest } = found?.metadata ?? {};
    const Metadata = {
      ...rest,
      ...(length === undefined ? {} : { "x-amz-unencrypted-content-length": length }),
    };
    return put(plain, Key, Buffer.from(found?.body ?? "", "base64"), { Metadata });
  };

  test.each([
    ["17", 17, "accepted"],
    // No hint, or an impossible one: the most that it can hold, and no promise.
    [undefined, 31, "accepted"],
    ["32", 31, "accepted"],
    ["15", 31, "accepted"],
    ["x", 31, "accepted"],
    // A hint that could be right is believed until a range shows what is.
    ["16", 16, "INVALID_METADATA"],
    ["31", 31, "INVALID_METADATA"],
  ])("the hint %s gives %i, and then a range is %s", async (hint, told, outcome) => {
    await store(hint);
    const reader = client();
    expect(await lengthOf(reader, Key)).toBe(told);
    const range = readObject(reader, { Bucket, Key, Range: "bytes=0-9" });
    expect(await outcomeOf(range)).toBe(outcome);
    expect(await lengthOf(reader, Key)).toBe(17);
    const again = await readObject(reader, { Bucket, Key, Range: "bytes=0-16" });
    expect(again.toString("base64")).toBe(found?.plaintext);
  });
});

describe("GetObjectAttributes", () => {
  const attributes = async (client: S3Client, Key: string, names: readonly string[], more: object = {}) => {
    const { $metadata: _, ...output } = await client.send(
      new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: names as never, ...more }),
    );
    return output;
  };
  const all = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

  test("the size is that of the plaintext; checksums and parts of the stored bytes are left out", async () => {
    for (const options of [{}, { format: "s3ec-v3" as const }]) {
      const client = clientFor(options);
      await put(client, "attributes", data);
      const stored = await attributes(plain, "attributes", all);
      expect(stored).toMatchObject({ Checksum: {}, ObjectParts: {} });
      expect(stored.ObjectSize).toBeGreaterThan(data.length);
      const { Checksum: _, ObjectParts: __, ...rest } = stored;
      expect(await attributes(client, "attributes", all)).toEqual({ ...rest, ObjectSize: data.length });
      expect(await attributes(client, "attributes", ["ObjectSize"])).toEqual({
        LastModified: stored.LastModified,
        ObjectSize: data.length,
      });
      expect(await requestsOf(() => attributes(client, "attributes", ["ETag"]))).toEqual(["GET"]);
      expect(await attributes(client, "attributes", ["Checksum"])).toEqual({
        LastModified: stored.LastModified,
      });
    }
  });

  test("questions about parts and about what is not encrypted are refused", async () => {
    const client = clientFor();
    await put(client, "attributes", data);
    for (const more of [{ MaxParts: 10 }, { PartNumberMarker: "0" }])
      expect(await outcomeOf(attributes(client, "attributes", all, more))).toBe("UNSUPPORTED");
    await put(plain, "clear", "text");
    expect(await outcomeOf(attributes(client, "clear", all))).toBe("NOT_ENCRYPTED");
  });

  test("an object that is replaced meanwhile gives no size of another", async () => {
    const client = clientFor();
    await put(client, "replaced", data);
    server.fault = ({ method, key }) => {
      if (method !== "HEAD" || key !== "replaced") return undefined;
      server.buckets.get(Bucket)?.set(key, { ...server.object(Bucket, key), eTag: '"another"' });
      return undefined;
    };
    try {
      expect(await outcomeOf(attributes(client, "replaced", all))).not.toBe("accepted");
    } finally {
      server.fault = () => undefined;
    }
  });
});

test("a GET tells the length that was verified, whatever the hints say", async () => {
  const client = clientFor();
  await put(client, "whole", data);
  forge("whole", { "header-length": "1", "frame-length": "16" });
  const { ContentLength, Body } = await client.send(new GetObjectCommand({ Bucket, Key: "whole" }));
  expect(ContentLength).toBe(data.length);
  expect(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(data)).toBe(true);
});
