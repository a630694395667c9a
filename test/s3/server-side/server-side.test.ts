// Server-side encryption and bucket policies on the server that enforces them: round trips and refusals of SSE-S3,
// SSE-KMS and SSE-C, alone and with client-side encryption on top, and requests × policies.
import { randomBytes } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import {
  type EncryptionPolicyOptions,
  encryptS3Client,
  explainPolicy,
  getDefaultEncryption,
  requireEncryptionPolicy,
  type ServerSideEncryption,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sseC,
  sseKms,
  sseS3,
} from "../../../src/s3.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const P = 5 * 2 ** 20;
const [ARN, OTHER_ARN] = ["1", "2"].map((id) => `arn:aws:kms:us-east-1:111122223333:key/${id}`) as [
  string,
  string,
];
const customerKey = randomBytes(32);
const encryptionContext = { team: "α" };
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const data = randomBytes(P + 77);

let server: S3Server;
let https: S3Client;
let http: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  https = server.secureClient();
  http = server.client();
  for (const arn of [ARN, OTHER_ARN]) server.kmsKeys.set(arn, "enabled");
  await createBucket(Bucket);
});
afterAll(() => server[Symbol.asyncDispose]());

async function createBucket(name: string): Promise<void> {
  await https.send(new CreateBucketCommand({ Bucket: name }));
  await setDefaultEncryption(https, name, { encryption: sseS3(), customerKeys: "allow" });
}
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "accepted",
    (error) => error.name,
  );
const read = (client: S3Client, Key: string, Range?: string): Promise<Buffer> =>
  readObject(client, { Bucket, Key, Range });

const modes: readonly (readonly [name: string, mode: ServerSideEncryption, stored: object])[] = [
  ["SSE-S3", sseS3(), { algorithm: "AES256" }],
  [
    "SSE-KMS",
    sseKms({ keyId: ARN, encryptionContext, bucketKey: "enabled" }),
    {
      algorithm: "aws:kms",
      kmsKeyId: ARN,
      bucketKey: true,
      context: Buffer.from(JSON.stringify(encryptionContext)).toString("base64"),
    },
  ],
  ["DSSE-KMS", sseKms({ keyId: ARN, layers: "double" }), { algorithm: "aws:kms:dsse", kmsKeyId: ARN }],
  ["SSE-C", sseC(customerKey), { algorithm: "SSE-C" }],
];
const formats = ["none", "framed", "s3ec-v3"] as const;

describe.each(modes)("%s", (name, serverSideEncryption, atRest) => {
  const clientFor = (format: (typeof formats)[number]): S3Client =>
    format === "none"
      ? serverSideEncryptS3Client(https, serverSideEncryption)
      : encryptS3Client(https, {
          keyring,
          format,
          serverSideEncryption,
          enableLegacyUnauthenticatedModes: true,
          unsignedPayload: "https-only",
        });

  test.each(formats)("every request of an object's life, client side: %s", async (format) => {
    const client = clientFor(format);
    for (const length of [0, 100, data.length]) {
      const Key = `${name}/${format}/${length}`;
      const Body = data.subarray(0, length);
      const Metadata = { own: "1" };
      await new Upload({ client, partSize: P, params: { Bucket, Key, Body, Metadata } }).done();
      expect(server.object(Bucket, Key).atRest).toMatchObject(atRest);
      const head = await client.send(new HeadObjectCommand({ Bucket, Key }));
      expect(head).toMatchObject({ ContentLength: length, Metadata });
      expect((await read(client, Key)).equals(Body)).toBe(true);
      if (length > 0) expect((await read(client, Key, "bytes=-7")).equals(Body.subarray(-7))).toBe(true);
      if (format === "framed") continue; // bound to its key
      await client.send(
        new CopyObjectCommand({ Bucket, Key: `${Key}-copy`, CopySource: `${Bucket}/${Key}` }),
      );
      expect(server.object(Bucket, `${Key}-copy`).atRest).toMatchObject(atRest);
      expect((await read(client, `${Key}-copy`)).equals(Body)).toBe(true);
    }
    expect(server.uploads.size).toBe(0);
  });
});

test("refusals: no customer key, another one, over http, where it is blocked", async () => {
  const client = serverSideEncryptS3Client(https, sseC(customerKey));
  const other = serverSideEncryptS3Client(https, sseC(randomBytes(32)));
  const Key = "customer";
  await client.send(new PutObjectCommand({ Bucket, Key, Body: "text" }));
  const get = (from: S3Client): Promise<string> => outcome(from.send(new GetObjectCommand({ Bucket, Key })));
  expect([await get(client), await get(https), await get(other)]).toEqual([
    "accepted",
    "InvalidRequest",
    "AccessDenied",
  ]);
  const insecure = serverSideEncryptS3Client(http, sseC(customerKey));
  const put = new PutObjectCommand({ Bucket, Key, Body: "text" });
  expect(await outcome(insecure.send(put))).not.toBe("accepted");
  await setDefaultEncryption(https, Bucket, { encryption: sseS3(), customerKeys: "block" });
  expect(await outcome(client.send(put))).toBe("AccessDenied");
  await setDefaultEncryption(https, Bucket, { encryption: sseS3(), customerKeys: "allow" });
  expect(await outcome(client.send(put))).toBe("accepted");
});

test("refusals: a KMS key that is not there, and one that was disabled", async () => {
  const Key = "kms";
  const using = (keyId: string): S3Client =>
    encryptS3Client(https, { keyring, serverSideEncryption: sseKms({ keyId }) });
  const put = new PutObjectCommand({ Bucket, Key, Body: "text" });
  expect(await outcome(using("arn:aws:kms:us-east-1:111122223333:key/none").send(put))).toBe(
    "KMS.NotFoundException",
  );
  expect(await outcome(using(ARN).send(put))).toBe("accepted");
  server.kmsKeys.set(ARN, "disabled");
  expect(await outcome(read(using(ARN), Key))).toBe("KMS.DisabledException");
  server.kmsKeys.set(ARN, "enabled");
  expect((await read(using(ARN), Key)).toString()).toBe("text");
});

test.each([
  ["SSE-S3", sseS3(), { mode: "SSE-S3", kmsKeyId: undefined, bucketKey: "disabled" }],
  [
    "SSE-KMS",
    sseKms({ keyId: ARN, bucketKey: "enabled" }),
    { mode: "SSE-KMS", kmsKeyId: ARN, bucketKey: "enabled" },
  ],
  [
    "DSSE-KMS",
    sseKms({ keyId: ARN, layers: "double" }),
    { mode: "DSSE-KMS", kmsKeyId: ARN, bucketKey: "disabled" },
  ],
] as const)(
  "the default encryption of a bucket is set, read and takes effect: %s",
  async (_, encryption, expected) => {
    const bucket = "defaults";
    await https.send(new CreateBucketCommand({ Bucket: bucket }));
    for (const [customerKeys, told] of [
      ["allow", "allowed"],
      ["block", "blocked"],
      [undefined, "blocked"],
    ] as const) {
      await setDefaultEncryption(https, bucket, { encryption, customerKeys });
      expect(await getDefaultEncryption(https, bucket)).toEqual({ ...expected, customerKeys: told });
    }
    await https.send(new PutObjectCommand({ Bucket: bucket, Key: "x", Body: "x" }));
    const head = await https.send(new HeadObjectCommand({ Bucket: bucket, Key: "x" }));
    expect(head.SSEKMSKeyId).toBe(expected.kmsKeyId);
  },
);

test("a bucket without encryption configuration, as other servers have them", async () => {
  server.fault = ({ query }) =>
    query.has("encryption")
      ? { kind: "error", status: 404, code: "ServerSideEncryptionConfigurationNotFoundError" }
      : undefined;
  try {
    expect(await getDefaultEncryption(https, Bucket)).toMatchObject({
      mode: "none",
      customerKeys: undefined,
    });
  } finally {
    server.fault = () => undefined;
  }
});

/** How a request encrypts; "plain" names nothing. */
const requests = {
  plain: undefined,
  "SSE-S3": sseS3(),
  "SSE-KMS, managed key": sseKms(),
  "SSE-KMS, key 1": sseKms({ keyId: ARN }),
  "SSE-KMS, key 2": sseKms({ keyId: OTHER_ARN }),
  "DSSE-KMS, key 1": sseKms({ keyId: ARN, layers: "double" }),
  "SSE-C": sseC(customerKey),
} as const;
type RequestName = keyof typeof requests;
const kms: readonly RequestName[] = [
  "SSE-KMS, managed key",
  "SSE-KMS, key 1",
  "SSE-KMS, key 2",
  "DSSE-KMS, key 1",
];
const all = Object.keys(requests) as RequestName[];

type Way = "put" | "parts" | "copy";

/** Policies and the requests that each must admit over https, as its options say in words. */
const policies: readonly (readonly [Omit<EncryptionPolicyOptions, "bucket">, readonly RequestName[]])[] = [
  [{ require: "SSE-S3" }, ["SSE-S3"]],
  [{ require: "SSE-S3", customerKeys: "forbid" }, ["SSE-S3"]],
  [{ require: "SSE-KMS" }, kms],
  [{ require: "SSE-KMS", kmsKeyId: ARN }, ["SSE-KMS, key 1", "DSSE-KMS, key 1"]],
  [{ require: "SSE-KMS", plainHttp: "allow" }, kms],
  [{ require: "SSE-C" }, ["SSE-C"]],
  [{ require: "any" }, ["SSE-S3", ...kms]],
  [{ require: "any", plainHttp: "allow" }, ["SSE-S3", ...kms]],
  [{ require: "none" }, all],
  [{ require: "none", customerKeys: "forbid" }, all.filter((name) => name !== "SSE-C")],
  [{ require: "none", customerKeys: "forbid", plainHttp: "allow" }, all.filter((name) => name !== "SSE-C")],
];

describe("bucket policies", () => {
  const totals = { right: 0, cells: 0 };
  const sourceOf = (name: string, clientSide: boolean): string => `source of ${name}, ${clientSide}`;
  beforeAll(async () => {
    for (const [name, mode] of Object.entries(requests))
      for (const clientSide of [false, true])
        await clientOf(https, mode, clientSide).send(
          new PutObjectCommand({ Bucket, Key: sourceOf(name, clientSide), Body: "text" }),
        );
  });
  afterAll(() => console.log(`requests x policies: ${totals.right} of ${totals.cells} as they should be`));

  test.each(
    policies.map(
      ([options, admitted], index) => [JSON.stringify(options), options, admitted, index] as const,
    ),
  )("%s", async (_, options, admitted, index) => {
    const bucket = `policy-${index}`;
    await createBucket(bucket);
    const made = requireEncryptionPolicy({ bucket, ...options });
    await https.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify(made) }));
    const described = explainPolicy(made);
    expect(described.demandsEncryption).toBe(!admitted.includes("plain"));
    expect(described.demandsTls).toBe(options.plainHttp !== "allow");
    for (const [name, mode] of Object.entries(requests))
      for (const [plain, scheme] of [
        [https, "https"],
        [http, "http"],
      ] as const)
        for (const clientSide of [false, true])
          for (const way of ["put", "parts", "copy"] as const) {
            const client = clientOf(plain, mode, clientSide);
            const reachable = scheme === "https" || (options.plainHttp === "allow" && name !== "SSE-C");
            const expected = reachable && admitted.includes(name as RequestName);
            const got = await outcome(store(client, bucket, way, sourceOf(name, clientSide)));
            totals.cells += 1;
            expect([got === "accepted", name, scheme, clientSide, way, got]).toEqual([
              expected,
              name,
              scheme,
              clientSide,
              way,
              got,
            ]);
            totals.right += 1;
          }
    expect(server.uploads.size).toBe(0);
  });
});

function clientOf(plain: S3Client, mode: ServerSideEncryption | undefined, clientSide: boolean): S3Client {
  if (clientSide)
    return encryptS3Client(plain, { keyring, bind: "none", serverSideEncryption: mode, partSize: P });
  return mode === undefined ? plain : serverSideEncryptS3Client(plain, mode);
}

async function store(client: S3Client, bucket: string, way: Way, source: string): Promise<unknown> {
  const target = { Bucket: bucket, Key: "object" };
  if (way === "put") return client.send(new PutObjectCommand({ ...target, Body: "text" }));
  if (way === "copy")
    return client.send(new CopyObjectCommand({ ...target, CopySource: `${Bucket}/${source}` }));
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: "CRC32" }),
  );
  const part = { ...target, UploadId, PartNumber: 1 };
  const { ETag, ChecksumCRC32 } = await client.send(new UploadPartCommand({ ...part, Body: "text" }));
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag, ChecksumCRC32 }] };
  return client.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload }));
}
