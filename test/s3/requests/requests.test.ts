// Every request that the encrypting client answers or refuses, on the strict server.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  PutObjectCommand,
  RenameObjectCommand,
  type S3Client,
  SelectObjectContentCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { CachingKeyring, RawAesKeyring } from "../../../src/index.ts";
import { KmsKeyring } from "../../../src/kms.ts";
import { decryptObject, type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3.ts";
import { FakeKms } from "../../support/fake-kms.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const F = 65_536;
const data = randomBytes(3 * F + 5);
const keyring = new RawAesKeyring({ keyNamespace: "shop", keyName: "2026/a", wrappingKey: randomBytes(32) });
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
const read = (client: S3Client, Key: string, Range?: string): Promise<Buffer> =>
  readObject(client, { Bucket, Key, Range });
const put = (client: S3Client, Key: string, Body: unknown, more: object = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: Body as Buffer, ...more }));

test("the client that was given stays as it was", async () => {
  const before = plain.middlewareStack.identify();
  const client = clientFor();
  await put(client, "derived", "text");
  expect(plain.middlewareStack.identify()).toEqual(before);
  await put(plain, "original", "text");
  expect(server.object(Bucket, "original").body.toString()).toBe("text");
  expect(server.object(Bucket, "derived").body.includes("text")).toBe(false);
  expect(() => encryptS3Client(client, { keyring })).toThrow(TypeError);
});

test.each([
  ["a string", () => data.toString("latin1"), Buffer.from(data.toString("latin1"), "utf8")],
  ["a Uint8Array", () => new Uint8Array(data), data],
  ["a Blob", () => new Blob([data]), data],
  ["a web stream", () => new Blob([data]).stream(), data],
  [
    "a generator",
    () =>
      (async function* () {
        yield data.subarray(0, 9);
        yield data.subarray(9);
      })(),
    data,
  ],
  ["a Readable", () => Readable.from([data.subarray(0, 70_000), data.subarray(70_000)]), data],
  [
    "shared memory",
    () => {
      const shared = new Uint8Array(new SharedArrayBuffer(data.length));
      shared.set(data);
      return shared;
    },
    data,
  ],
  ["nothing", () => undefined, Buffer.alloc(0)],
])("a body can be %s", async (name, body, expected) => {
  await put(clientFor(), name, body());
  expect((await read(clientFor(), name)).equals(expected)).toBe(true);
});

test("checksums: the SDK's are those of the stored bytes, the caller's are refused", async () => {
  const client = clientFor();
  await put(client, "sums", data);
  const { checksum, body } = server.object(Bucket, "sums");
  expect(checksum?.algorithm).toBe("crc32");
  expect(body.equals(data)).toBe(false);
  for (const field of ["ContentMD5", "ChecksumCRC32", "ChecksumSHA256", "ChecksumCRC64NVME"])
    await expect(put(client, "sums", data, { [field]: "AAAA" }), field).rejects.toThrow(field);
  await put(client, "sums", data, { ChecksumAlgorithm: "SHA256" });
  expect(server.object(Bucket, "sums").checksum?.algorithm).toBe("sha256");
  const output = await client.send(new GetObjectCommand({ Bucket, Key: "sums", ChecksumMode: "ENABLED" }));
  expect(Object.keys(output).filter((name) => name.startsWith("Checksum"))).toEqual([]);
});

describe("unsigned payloads", () => {
  test("over https", async () => {
    const client = encryptS3Client(server.secureClient(), { keyring, unsignedPayload: "https-only" });
    await put(client, "unsigned", data);
    const digests = server.calls
      .filter(({ key }) => key === "unsigned")
      .map(({ headers }) => headers["x-amz-content-sha256"]);
    expect(digests).toEqual(["UNSIGNED-PAYLOAD"]);
    expect((await read(client, "unsigned")).equals(data)).toBe(true);
  });
  test("over http they are refused", async () => {
    expect(await outcomeOf(put(clientFor({ unsignedPayload: "https-only" }), "x", data))).toBe("POLICY");
  });
});

describe("objects bound to their keys", () => {
  const move = async (from: string, to: string): Promise<void> => {
    server.buckets.get(Bucket)?.set(to, server.object(Bucket, from));
  };
  test.each([
    ["key", ["CONTEXT_MISMATCH", "CONTEXT_MISMATCH"]],
    ["prefix", ["accepted", "CONTEXT_MISMATCH"]],
    ["none", ["accepted", "accepted"]],
  ] as const)("to the %s", async (bind, expected) => {
    const client = clientFor({ bind });
    await put(client, "a/one", data);
    await move("a/one", "a/two");
    await move("a/one", "b/one");
    expect([await outcomeOf(read(client, "a/two")), await outcomeOf(read(client, "b/one"))]).toEqual(
      expected,
    );
    expect([
      await outcomeOf(read(client, "a/two", "bytes=0-1")),
      await outcomeOf(read(client, "b/one", "bytes=0-1")),
    ]).toEqual(expected);
    const copy = (Key: string, CopySource = `${Bucket}/a/one`) =>
      outcomeOf(client.send(new CopyObjectCommand({ Bucket, Key, CopySource })));
    const copied = expected.map((each) => (each === "accepted" ? each : "POLICY"));
    expect([await copy("a/copy"), await copy("b/copy")]).toEqual(copied);
  });
  test("are encrypted again for their new key on request", async () => {
    await put(clientFor(), "from", data, { Metadata: { own: "1" }, ContentType: "text/x" });
    const client = clientFor({ boundCopy: "reencrypt" });
    const copy = { Bucket, Key: "to", CopySource: `${Bucket}/from` };
    await client.send(new CopyObjectCommand(copy));
    const head = await clientFor().send(new HeadObjectCommand({ Bucket, Key: "to" }));
    expect(head).toMatchObject({ Metadata: { own: "1" }, ContentType: "text/x", ContentLength: data.length });
    expect((await read(clientFor(), "to")).equals(data)).toBe(true);
    const replaced = { ...copy, MetadataDirective: "REPLACE", Metadata: { own: "2" } } as const;
    await client.send(new CopyObjectCommand(replaced));
    expect((await clientFor().send(new HeadObjectCommand({ Bucket, Key: "to" }))).Metadata).toEqual({
      own: "2",
    });
    expect(server.object(Bucket, "to").body.equals(server.object(Bucket, "from").body)).toBe(false);
  });
  test("need one data key each, unless they share a prefix and a cache", async () => {
    await using kms = await FakeKms.start();
    const of = new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() });
    const cached = () => new CachingKeyring({ keyring: of, maxAgeMs: 60_000 });
    for (const [bind, calls] of [
      ["key", 3],
      ["prefix", 1],
    ] as const) {
      const client = clientFor({ keyring: cached(), bind });
      const before = kms.count("GenerateDataKey");
      for (const name of ["1", "2", "3"]) await put(client, `${bind}/${name}`, "x");
      expect(kms.count("GenerateDataKey") - before).toBe(calls);
    }
  });
});

test("hints in the metadata tell the keys, and nothing depends on them", async () => {
  await put(clientFor(), "hints", data);
  const stored = server.object(Bucket, "hints");
  const prefix = "x-amz-meta-frameseal-";
  expect(stored.headers).toMatchObject({
    [`${prefix}format`]: "framed",
    [`${prefix}frame-length`]: String(F),
    [`${prefix}suite`]: "0x0478",
    [`${prefix}keys`]: "shop/2026%2Fa",
  });
  const output = await clientFor().send(new GetObjectCommand({ Bucket, Key: "hints" }));
  expect(output.Metadata).toEqual({});
  output.Body?.transformToWebStream().cancel();
  for (const name of ["header-length", "frame-length", "suite", "keys"])
    for (const value of ["1", "16", "99999999999999999999", "0x0014", "-1", "none"]) {
      const headers = { ...stored.headers, [prefix + name]: value };
      server.buckets.get(Bucket)?.set("hints", { ...stored, headers });
      expect((await read(clientFor(), "hints")).equals(data), `${name} ${value}`).toBe(true);
      expect(
        (await read(clientFor(), "hints", "bytes=65530-65540")).equals(data.subarray(65530, 65541)),
      ).toBe(true);
    }
});

test("what is not encrypted is refused, whatever asks", async () => {
  await put(plain, "clear", "clear text");
  const client = clientFor({ boundCopy: "reencrypt" });
  expect(await outcomeOf(read(client, "clear"))).toBe("NOT_ENCRYPTED");
  expect(await outcomeOf(read(client, "clear", "bytes=0-1"))).toBe("NOT_ENCRYPTED");
  expect(await outcomeOf(client.send(new HeadObjectCommand({ Bucket, Key: "clear" })))).toBe("NOT_ENCRYPTED");
  const copy = new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/clear` });
  expect(await outcomeOf(client.send(copy))).toBe("NOT_ENCRYPTED");
});

test("a presigned GET is opened by decryptObject", async () => {
  const client = clientFor();
  await put(client, "presigned", data);
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "presigned" }));
  const location = { bucket: Bucket, key: "presigned" };
  const whole = await fetch(url);
  const fetched = {
    body: new Uint8Array(await whole.arrayBuffer()),
    metadata: Object.fromEntries(whole.headers),
  };
  const opened = await decryptObject(location, fetched, { keyring });
  expect(Buffer.from(opened.body).equals(data)).toBe(true);
  const again = await fetch(url);
  const streamed = await decryptObject(
    location,
    {
      body: Readable.fromWeb(again.body as never),
      metadata: Object.fromEntries(again.headers),
      contentLength: Number(again.headers.get("content-length")),
    },
    { keyring },
  );
  expect(Buffer.concat(await streamed.body.toArray()).equals(data)).toBe(true);
  await expect(decryptObject({ ...location, key: "other" }, fetched, { keyring })).rejects.toMatchObject({
    code: "CONTEXT_MISMATCH",
  });
});

test("requests that would store clear text, or cannot work, are refused before anything is sent", async () => {
  const client = clientFor();
  const target = { Bucket, Key: "refused" };
  const part = { ...target, UploadId: "1", PartNumber: 1 };
  const calls = server.calls.length;
  for (const command of [
    new PutObjectCommand(target),
    new CreateMultipartUploadCommand(target),
    new UploadPartCommand(part),
    new CompleteMultipartUploadCommand({ ...target, UploadId: "1" }),
    new CopyObjectCommand({ ...target, CopySource: `${Bucket}/x` }),
    new UploadPartCopyCommand({ ...part, CopySource: `${Bucket}/x` }),
  ])
    expect(await outcomeOf(getSignedUrl(client, command as never)), command.constructor.name).toBe("POLICY");
  expect(
    await outcomeOf(client.send(new UploadPartCopyCommand({ ...part, CopySource: `${Bucket}/x` }))),
  ).toBe("POLICY");
  const select = {
    ...target,
    ExpressionType: "SQL",
    Expression: "",
    InputSerialization: {},
    OutputSerialization: {},
  };
  expect(await outcomeOf(client.send(new SelectObjectContentCommand(select as never)))).toBe("POLICY");
  expect(await outcomeOf(client.send(new RenameObjectCommand({ ...target, RenameSource: "x" })))).toBe(
    "POLICY",
  );
  expect(await outcomeOf(client.send(new HeadObjectCommand({ ...target, PartNumber: 1 })))).toBe(
    "UNSUPPORTED",
  );
  expect(await outcomeOf(client.send(new GetObjectCommand({ ...target, PartNumber: 1 })))).toBe(
    "UNSUPPORTED",
  );
  expect(await outcomeOf(put(client, "refused", "x", { WriteOffsetBytes: 1 }))).toBe("UNSUPPORTED");
  expect(() => clientFor({ suite: 0x0578 })).toThrow(expect.objectContaining({ code: "POLICY" }));
  expect(server.calls.length).toBe(calls);
});

test("DeleteObjects takes the instruction files along", async () => {
  const client = clientFor({ format: "s3ec-v3", instructionFiles: "write" });
  const keys = Array.from({ length: 20 }, (_, index) => `many/${index}`);
  for (const key of keys) await put(client, key, "x");
  const left = (): string[] =>
    [...(server.buckets.get(Bucket)?.keys() ?? [])].filter((key) => key.startsWith("many/"));
  expect(left().length).toBe(40);
  const calls = server.calls.length;
  const Objects = keys.slice(1).map((Key) => ({ Key }));
  await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  // Each file is looked at before, since it could be an object of somebody else.
  expect(server.calls.length - calls).toBe(2 + Objects.length);
  expect(left().sort()).toEqual(["many/0", "many/0.instruction"]);
});

describe("multipart uploads by hand", () => {
  const P = 5 * 2 ** 20;
  const long = randomBytes(2 * P + 9);
  const begin = async (client: S3Client, Key: string) => {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const target = { Bucket, Key, UploadId };
    return {
      target,
      part: async (PartNumber: number, Body: Uint8Array) => {
        const { ETag } = await client.send(new UploadPartCommand({ ...target, PartNumber, Body }));
        return { PartNumber, ETag };
      },
      complete: (Parts: { PartNumber: number; ETag: string | undefined }[]) =>
        client.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts } })),
    };
  };

  test("ListParts tells the sizes of the plaintext", async () => {
    const client = clientFor({ partSize: P });
    const { target, part } = await begin(client, "listed");
    await part(3, long.subarray(2 * P));
    await part(1, long.subarray(0, P));
    const list = async (more: object = {}) =>
      (await client.send(new ListPartsCommand({ ...target, ...more }))).Parts?.map(({ PartNumber, Size }) => [
        PartNumber,
        Size,
      ]);
    expect(await list()).toEqual([
      [1, P],
      [3, 9],
    ]);
    expect(await list({ MaxParts: 1, PartNumberMarker: "1" })).toEqual([[3, 9]]);
    await client.send(new AbortMultipartUploadCommand(target));
    expect(server.uploads.size).toBe(0);
    expect(await outcomeOf(part(2, long.subarray(P, 2 * P)))).toBe("POLICY");
  });

  test("without partSize, the first part fixes it when it comes first, in whole frames", async () => {
    const client = clientFor();
    const early = await begin(client, "early");
    expect(await outcomeOf(early.part(2, long.subarray(P, 2 * P)))).toBe("POLICY");
    await client.send(new AbortMultipartUploadCommand(early.target));
    const { part, complete, target } = await begin(client, "odd");
    // Not whole frames: it can only be the last one.
    const first = await part(1, long.subarray(0, P + 1));
    expect(await outcomeOf(part(2, long.subarray(P + 1)))).toBe("POLICY");
    await complete([first]);
    expect((await read(client, target.Key)).equals(long.subarray(0, P + 1))).toBe(true);
  });

  test("parts that would break the order of nonces are refused", async () => {
    const client = clientFor({ partSize: P });
    const { part, complete, target } = await begin(client, "rules");
    const one = await part(1, long.subarray(0, P));
    expect(await outcomeOf(part(2, long.subarray(0, P + F)))).toBe("POLICY"); // longer
    expect(await outcomeOf(part(1, long.subarray(1, P + 1)))).toBe("POLICY"); // other bytes
    expect(await outcomeOf(part(1, long.subarray(0, 9)))).toBe("POLICY"); // shorter
    expect(await part(1, long.subarray(0, P))).toEqual(one);
    const two = await part(2, long.subarray(P, 2 * P));
    const three = await part(3, long.subarray(2 * P));
    expect(await outcomeOf(part(4, long.subarray(0, 9)))).toBe("POLICY"); // behind the short one
    expect(await outcomeOf(part(0, long.subarray(0, P)))).toBe("RangeError");
    for (const parts of [[], [one], [one, two], [one, three], [two, one, three], [one, two, three, three]])
      expect(await outcomeOf(complete(parts))).toBe("POLICY");
    await complete([one, two, three]);
    expect((await read(client, target.Key)).equals(long)).toBe(true);
    expect(server.uploads.size).toBe(0);
  });

  test("two parts swapped in the bucket are detected", async () => {
    const client = clientFor({ partSize: P });
    const full = randomBytes(3 * P);
    await put(client, "swapped", full);
    const stored = server.object(Bucket, "swapped");
    const headerLength = Number(stored.headers["x-amz-meta-frameseal-header-length"]);
    const partLength = (P / F) * (F + 32);
    const at = (index: number) => headerLength + index * partLength;
    const pieces = [0, 1, 2].map((index) => stored.body.subarray(at(index), at(index + 1)));
    const [one, two, three] = pieces as [Buffer, Buffer, Buffer];
    const rest = [stored.body.subarray(0, headerLength), stored.body.subarray(at(3))] as const;
    for (const order of [
      [one, three, two],
      [two, one, three],
      [one, two, two],
      [one, three],
    ]) {
      const body = Buffer.concat([rest[0], ...order, rest[1]]);
      server.buckets.get(Bucket)?.set("swapped", { ...stored, body, checksum: undefined });
      expect(await outcomeOf(read(client, "swapped"))).toBe("AUTHENTICATION_FAILED");
      expect(await outcomeOf(read(client, "swapped", `bytes=${P}-${2 * P}`))).toBe("AUTHENTICATION_FAILED");
    }
  });
});
