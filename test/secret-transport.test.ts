// Keys leave over https, or to this machine: every kind of request that carries one, or is answered with one, to every
// kind of address, through real clients that note what would leave.
import { randomBytes } from "node:crypto";
import { DecryptCommand, KMSClient, type KMSClientConfig } from "@aws-sdk/client-kms";
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { beforeEach, describe, expect, test } from "vitest";
import { suiteById } from "../src/format/suite.ts";
import { MultiKeyring, RawAesKeyring } from "../src/index.ts";
import { KmsKeyring } from "../src/kms.ts";
import { encryptS3Client, serverSideEncryptS3Client, sseC, sseS3 } from "../src/s3.ts";

const allowed = [
  "https://service.example",
  "https://bucket.localhost",
  "http://localhost",
  "http://LOCALHOST:9000",
  "http://127.0.0.1:1",
  "http://127.8.9.1",
  "http://[::1]:1",
  "http://2130706433", // 127.0.0.1 to everybody who reads URLs
  "http://0x7f.1",
];
const refused = [
  "http://service.example",
  "http://localhost.evil.example",
  "http://127.0.0.1.nip.io",
  "http://127.0.0.1.example.com",
  "http://bucket.localhost", // name servers are asked about it
  "http://localhost.",
  "http://localhost4",
  "http://xn--localhost-x5a.example",
  "http://localhost@evil.example",
  "http://0.0.0.0",
  "http://10.0.0.1",
  "http://169.254.169.254",
  "http://3232235777",
  "http://[::]",
  "http://[::2]",
  "http://[fe80::1]",
  "http://[::ffff:10.0.0.1]",
];

let sent: unknown[] = [];
beforeEach(() => {
  sent = [];
});
/** Answers nothing, and notes that it was asked. */
const requestHandler = {
  handle(request: unknown) {
    sent.push(request);
    return Promise.reject(new Error("sent"));
  },
  updateHttpClientConfig() {},
  httpHandlerConfigs: () => ({}),
};
const config = {
  region: "us-east-1",
  credentials: { accessKeyId: "a", secretAccessKey: "b" },
  maxAttempts: 1,
  requestHandler,
};
const s3 = (endpoint: string): S3Client => new S3Client({ ...config, endpoint, forcePathStyle: true });
const kms = (endpoint: string | undefined, more: KMSClientConfig = {}): KMSClient =>
  new KMSClient({ ...config, ...(endpoint === undefined ? {} : { endpoint }), ...more });

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const customer = randomBytes(32);
const given = { SSECustomerAlgorithm: "AES256", SSECustomerKey: customer.toString("base64") };
const source = {
  CopySourceSSECustomerAlgorithm: "AES256",
  CopySourceSSECustomerKey: customer.toString("base64"),
};
const target = { Bucket: "bucket", Key: "key" };
const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const other = arn.replace("1234abcd", "5678abcd");
const suite = suiteById(0x0478);
const request = {
  suite,
  commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
  encryptionContext: {},
} as const;
const wrapped = (keyArn: string) => ({
  providerId: "aws-kms",
  providerInfo: new Uint8Array(Buffer.from(keyArn)),
  ciphertext: randomBytes(100),
});

type Attempt = (endpoint: string) => Promise<unknown>;
const requests: Readonly<Record<string, Attempt>> = {
  "SSE-C of a client": (endpoint) =>
    serverSideEncryptS3Client(s3(endpoint), sseC(customer)).send(new GetObjectCommand(target)),
  "SSE-C under encryption": (endpoint) =>
    encryptS3Client(s3(endpoint), { keyring, serverSideEncryption: sseC(customer) }).send(
      new PutObjectCommand({ ...target, Body: "text" }),
    ),
  "a key given by hand under encryption": (endpoint) =>
    encryptS3Client(s3(endpoint), { keyring }).send(new GetObjectCommand({ ...target, ...given })),
  "a key given by hand beside SSE-S3": (endpoint) =>
    serverSideEncryptS3Client(s3(endpoint), sseS3()).send(
      new PutObjectCommand({ ...target, Body: "text", ...given }),
    ),
  "the key of the source of a copy": (endpoint) =>
    encryptS3Client(s3(endpoint), { keyring }).send(
      new CopyObjectCommand({ ...target, CopySource: "bucket/x", ...source }),
    ),
  "GenerateDataKey of KMS": (endpoint) =>
    new KmsKeyring({ client: kms(endpoint), generatorKeyId: arn }).generateDataKey(request),
  "Encrypt of KMS": (endpoint) =>
    new KmsKeyring({ client: kms(endpoint), keyIds: [arn] }).wrapDataKey(randomBytes(32), request),
  "Decrypt of KMS": (endpoint) =>
    new KmsKeyring({ client: kms(endpoint), keyIds: [arn] }).unwrapDataKey([wrapped(arn)], request),
  "Decrypt of KMS, of several": (endpoint) =>
    new KmsKeyring({ client: () => kms(endpoint), keyIds: [arn, other] }).unwrapDataKey(
      [wrapped(arn), wrapped(other)],
      request,
    ),
  "Decrypt of KMS, by discovery": (endpoint) =>
    new KmsKeyring({
      client: () => kms(endpoint),
      discovery: { partition: "aws", accountIds: ["111122223333"] },
    }).unwrapDataKey([wrapped(arn)], request),
};
const said = (attempt: Promise<unknown>): Promise<{ code?: string; message: string }> =>
  attempt.then(
    () => ({ message: "accepted" }),
    (error) => error,
  );

describe.each(Object.entries(requests))("%s", (_, attempt) => {
  test("goes to these", async () => {
    for (const endpoint of allowed) {
      sent = [];
      await said(attempt(endpoint));
      expect(sent.length, endpoint).toBeGreaterThan(0);
    }
  });
  test("does not go to these", async () => {
    for (const endpoint of refused) {
      const { code, message } = await said(attempt(endpoint));
      expect([endpoint, code, sent.length]).toEqual([endpoint, "POLICY", 0]);
      expect(message).toMatch(/: http:\/\/.* is refused, use https$/);
      expect(message).not.toContain(customer.toString("base64"));
    }
  });
});

test("a request without a key goes anywhere", async () => {
  await said(encryptS3Client(s3("http://s3.example"), { keyring }).send(new GetObjectCommand(target)));
  expect(sent.length).toBe(1);
});

test("nothing is signed for later use that carries a key over http", async () => {
  const client = serverSideEncryptS3Client(s3("http://s3.example"), sseC(customer));
  expect(await said(getSignedUrl(client, new GetObjectCommand(target)))).toMatchObject({ code: "POLICY" });
});

describe("an address that is known late", () => {
  test("comes from the environment", async () => {
    process.env.AWS_ENDPOINT_URL_KMS = "http://kms.example";
    try {
      const keyrings = new KmsKeyring({ client: kms(undefined), generatorKeyId: arn });
      expect(await said(keyrings.generateDataKey(request))).toMatchObject({ code: "POLICY" });
    } finally {
      delete process.env.AWS_ENDPOINT_URL_KMS;
    }
    expect(sent).toEqual([]);
  });

  test.each(["build", "finalizeRequest", "deserialize"] as const)(
    "is changed by middleware at %s",
    async (step) => {
      const client = kms("https://kms.example");
      const change = (next: (args: never) => unknown) => (args: { request: object }) => {
        Object.assign(args.request, { protocol: "http:", hostname: "evil.example" });
        return next(args as never);
      };
      client.middlewareStack.add(change as never, { step: step as "build", priority: "low" });
      const own = new KmsKeyring({ client, generatorKeyId: arn });
      expect(await said(own.generateDataKey(request))).toMatchObject({ code: "POLICY" });
      expect(sent).toEqual([]);
    },
  );

  test("hinders no key that needs no service", async () => {
    const children = [new KmsKeyring({ client: kms("http://kms.example"), keyIds: [arn] })];
    const own = new MultiKeyring({ children: [...children, keyring] });
    const { encryptedDataKeys, dataKey } = await keyring.generateDataKey(request);
    const unwrapped = await own.unwrapDataKey([wrapped(arn), ...encryptedDataKeys], request);
    expect(unwrapped).toEqual(dataKey); // the key that is here opens it
    expect(sent).toEqual([]);
  });
});

test("a caller's own commands are left alone", async () => {
  const input = { CiphertextBlob: randomBytes(100), KeyId: arn };
  await said(kms("http://kms.example").send(new DecryptCommand(input)));
  expect(sent.length).toBe(1);
});
