// Small objects that go past the SDK: the strict server checks their signatures and checksums, readers what is in them.
import * as sdk from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { withDirectRequests } from "../../../src/backup/transfer/direct-requests.ts";
import { RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3/encrypt-s3-client.ts";
import { sseC, sseS3 } from "../../../src/s3/server-side/server-side.ts";
import { S3Server } from "../../support/s3-server.ts";

const keyring = new RawAesKeyring({
  keyNamespace: "test",
  keyName: "test",
  wrappingKey: new Uint8Array(32).fill(1),
});

interface Bench extends AsyncDisposable {
  readonly server: S3Server;
  readonly client: sdk.S3Client;
  readonly told: unknown[];
  /** Keys of the requests that the SDK has made, and of all others. */
  keys(by: "sdk" | "us"): string[];
  put(Key: string, more?: Partial<sdk.PutObjectCommandInput>): Promise<sdk.PutObjectCommandOutput>;
  read(Key: string): Promise<string | undefined>;
}
async function bench(
  options: Partial<EncryptS3ClientOptions> = {},
  scheme: "http" | "https" = "http",
): Promise<Bench> {
  const server = await S3Server.start();
  const plain = scheme === "http" ? server.client() : server.secureClient();
  await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
  server.calls.length = 0;
  const told: unknown[] = [];
  const settings = {
    keyring,
    unsignedPayload: scheme === "http" ? ("never" as const) : ("https-only" as const),
    ...options,
  };
  const encrypting = encryptS3Client(plain, settings);
  const client = withDirectRequests({
    sdk,
    plain,
    client: encrypting,
    seal: (base) =>
      encryptS3Client(base, { ...settings, unsignedPayload: "never", serverSideEncryption: undefined }),
    begin: () => ({ succeeded: () => told.push("good"), failed: (error) => told.push(error) }),
  });
  return {
    server,
    client,
    told,
    keys: (by) =>
      server.calls
        .filter(({ method, headers }) => method === "PUT" && "amz-sdk-request" in headers === (by === "sdk"))
        .map(({ key }) => key),
    put: (Key, more) =>
      client.send(
        new sdk.PutObjectCommand({ Bucket: "b", Key, Body: Buffer.from(`text of ${Key}`), ...more }),
      ),
    read: async (Key) => {
      const answer = await encrypting.send(new sdk.GetObjectCommand({ Bucket: "b", Key }));
      return answer.Body?.transformToString();
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test.each(["http", "https"] as const)(
  "over %s: the first shows how, the others are sent like it",
  async (scheme) => {
    await using bed = await bench({}, scheme);
    const { server, put, read, keys } = bed;
    const seen: Buffer[] = [];
    server.onBody = (_, body) => void seen.push(body);
    const names = ["first", "dir/second", "sp ace", "ü/ä", "a+b&c=d?e#f%20", "!'()*~", "folder/"];
    const outputs = [];
    for (const name of names) outputs.push(await put(name, { Metadata: { mtime: "1.5", Mode: "644" } }));
    expect(keys("sdk")).toEqual(["first"]);
    expect(keys("us")).toEqual(names.slice(1));
    for (const [i, name] of names.entries()) {
      expect(await read(name)).toBe(`text of ${name}`);
      const { eTag, headers, checksum } = server.object("b", name);
      expect(outputs[i]?.ETag).toBe(eTag);
      expect(headers["x-amz-meta-mtime"]).toBe("1.5");
      expect(headers["content-type"]).toBe("application/octet-stream");
      expect(checksum?.algorithm).toBe("crc32");
    }
    expect(seen.some((body) => body.includes("text of"))).toBe(false);
    expect(bed.told).toEqual(names.slice(1).map(() => "good"));
  },
);

test("what must be encoded, has a condition, is long or is a stream goes the way of the SDK", async () => {
  await using bed = await bench();
  const { put, read, keys } = bed;
  await put("first");
  const others: [string, Partial<sdk.PutObjectCommandInput>][] = [
    ["metadata", { Metadata: { name: "ü" } }],
    ["spaces", { Metadata: { name: " two  spaces " } }],
    ["condition", { IfNoneMatch: "*" }],
    ["long", { Body: Buffer.alloc(2 ** 20 + 1, 65) }],
    ["date", { Expires: new Date(0) }],
    ["a//b", {}],
    ["a/../b", {}],
    ["a/./b", {}],
  ];
  for (const [name, more] of others) await put(name, more).catch(() => {}); // S3 refuses some
  expect(keys("us")).toEqual([]);
  expect(await read("condition")).toBe("text of condition");
  await put("second");
  expect(keys("us")).toEqual(["second"]);
});

test("server-side encryption and other fields are those of each object", async () => {
  await using bed = await bench({ serverSideEncryption: sseS3() });
  for (const [name, StorageClass] of [
    ["a", "STANDARD_IA"],
    ["b", "STANDARD_IA"],
    ["c", "GLACIER_IR"],
    ["d", "GLACIER_IR"],
    ["e", undefined],
  ] as const) {
    const output = await bed.put(name, { StorageClass });
    expect(output.ServerSideEncryption).toBe("AES256");
    expect(bed.server.object("b", name).headers["x-amz-storage-class"]).toBe(StorageClass);
  }
  expect(bed.keys("us")).toEqual(["b", "d"]);
});

test("SSE-C, which may have a key for each object, goes the way of the SDK", async () => {
  await using bed = await bench({ serverSideEncryption: sseC(new Uint8Array(32).fill(7)) }, "https");
  const Rules = [
    {
      ApplyServerSideEncryptionByDefault: { SSEAlgorithm: "AES256" as const },
      BlockedEncryptionTypes: { EncryptionType: ["NONE" as const] },
    },
  ];
  const ServerSideEncryptionConfiguration = { Rules };
  await bed.client.send(
    new sdk.PutBucketEncryptionCommand({ Bucket: "b", ServerSideEncryptionConfiguration }),
  );
  bed.server.calls.length = 0;
  for (const name of ["a", "b"]) await bed.put(name);
  expect(bed.keys("us")).toEqual([]);
  expect(bed.server.calls.every(({ secure }) => secure)).toBe(true);
  expect(await bed.read("b")).toBe("text of b");
});

test.each([
  ["503", { kind: "error", status: 503, code: "SlowDown" }],
  ["403", { kind: "error", status: 403, code: "AccessDenied" }],
  ["a broken connection", { kind: "reset" }],
  ["a lost answer", { kind: "reset", after: true }],
  ["an error that says 200", { kind: "error200", instead: true }],
] as const)("after %s the SDK sends it, sealed anew", async (_, fault) => {
  await using bed = await bench();
  await bed.put("a");
  const bodies: string[] = [];
  bed.server.onBody = ({ key }, body) => void (key === "b" && bodies.push(body.toString("hex")));
  bed.server.fault = ({ key, headers }) =>
    key === "b" && !("amz-sdk-request" in headers) ? fault : undefined;
  const output = await bed.put("b");
  expect(output.ETag).toBe(bed.server.object("b", "b").eTag);
  expect(await bed.read("b")).toBe("text of b");
  expect(new Set(bodies).size).toBe(bodies.length);
  expect(bed.told.length).toBe(1);
  expect(bed.told[0]).toBeInstanceOf(Error);
});

test("where it fails again and again it is left", async () => {
  await using bed = await bench();
  bed.server.fault = ({ headers }) =>
    "amz-sdk-request" in headers ? undefined : { kind: "error", status: 403, code: "SignatureDoesNotMatch" };
  for (let i = 0; i < 10; i++) await bed.put(String(i));
  expect(bed.keys("us")).toEqual(["1", "2", "3"]);
  expect(bed.keys("sdk").length).toBe(10);
});

test("a silent server is left when the operation is aborted, and the SDK sends nothing after it", async () => {
  await using bed = await bench();
  await bed.put("a");
  const controller = new AbortController();
  bed.server.fault = () => ({ kind: "stall" });
  bed.server.delay = async () => controller.abort();
  const put = new sdk.PutObjectCommand({ Bucket: "b", Key: "b", Body: Buffer.from("text") });
  await expect(bed.client.send(put, { abortSignal: controller.signal })).rejects.toMatchObject({
    code: "ABORTED",
  });
  expect(bed.keys("sdk")).toEqual(["a"]);
  expect(bed.keys("us")).toEqual(["b"]);
});
