// The strict S3 server refuses what S3 refuses: requests of the SDK, changed after they were signed or made by hand.
import { createHmac } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeBody } from "../support/aws-chunked.ts";
import { checksumOf } from "../support/checksums.ts";
import { S3Error } from "../support/s3-error.ts";
import { credentials, S3Server } from "../support/s3-server.ts";
import { Signature } from "../support/s3-signature.ts";

const Bucket = "bucket";
let server: S3Server;
let client: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  client = server.client();
  await client.send(new CreateBucketCommand({ Bucket }));
  await client.send(new PutObjectCommand({ Bucket, Key: "there", Body: "text" }));
});
afterAll(() => server[Symbol.asyncDispose]());

const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "accepted",
    (error) => error.name,
  );
const put = (Key: string, more: object = {}) => new PutObjectCommand({ Bucket, Key, Body: "text", ...more });

/** Sends a put whose headers are changed on their way, after they were signed. */
function tampered(change: (headers: Record<string, string>) => void, command = put("x")): Promise<unknown> {
  command.middlewareStack.add(
    (next) => (args) => {
      change((args.request as { headers: Record<string, string> }).headers);
      return next(args);
    },
    { step: "deserialize", name: "tamper", priority: "low" },
  );
  return outcome(client.send(command as never));
}

test.each([
  [
    "a header that was changed",
    (h: Record<string, string>) => {
      h["x-amz-meta-a"] = "2";
    },
    "SignatureDoesNotMatch",
  ],
  [
    "a header that is not signed",
    (h: Record<string, string>) => {
      h["x-amz-meta-b"] = "1";
    },
    "AccessDenied",
  ],
  [
    "no signature",
    (h: Record<string, string>) => {
      delete h.authorization;
    },
    "AccessDenied",
  ],
  [
    "an old date",
    (h: Record<string, string>) => {
      h["x-amz-date"] = "20200101T000000Z";
    },
    "RequestTimeTooSkewed",
  ],
  [
    "another digest",
    (h: Record<string, string>) => {
      h["x-amz-content-sha256"] = "0".repeat(64);
    },
    "SignatureDoesNotMatch",
  ],
])("%s", async (_, change, expected) => {
  expect(await tampered(change, put("x", { Metadata: { a: "1" } }))).toBe(expected);
});

test("a wrong secret, an unknown access key, another region", async () => {
  const other = (config: object): Promise<unknown> => outcome(server.client(config).send(put("x")));
  expect(await other({ credentials: { ...credentials, secretAccessKey: "c" } })).toBe(
    "SignatureDoesNotMatch",
  );
  expect(await other({ credentials: { ...credentials, accessKeyId: "c" } })).toBe("InvalidAccessKeyId");
  expect(await other({ region: "eu-west-1" })).toBe("AuthorizationHeaderMalformed");
});

test("presigned URLs: as they were signed, and not for ever", async () => {
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "there" }), { expiresIn: 60 });
  expect(await (await fetch(url)).text()).toBe("text");
  expect((await fetch(url.replace("there", "other"))).status).toBe(403);
  expect((await fetch(url.replace("Expires=60", "Expires=61"))).status).toBe(403);
  const signingDate = new Date(Date.now() - 120_000);
  const late = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "there" }), {
    expiresIn: 60,
    signingDate,
  });
  const answer = await fetch(late);
  expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("Request has expired")]);
});

/** The code of what a body that was encoded by hand meets, or its bytes. */
function decoded(
  raw: string,
  headers: Record<string, string>,
  signature = new Signature("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Buffer.alloc(32), "", "", ""),
): string {
  const all = { "content-length": String(raw.length), ...headers };
  try {
    return `${decodeBody(Buffer.from(raw, "latin1"), all, signature).bytes.length} bytes`;
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}
const chunks = (...lengths: readonly number[]): string =>
  lengths.map((length) => `${length.toString(16)}\r\n${"a".repeat(length)}\r\n`).join("");
const sum = (length: number): string => checksumOf("crc32", Buffer.alloc(length, "a"));
const trailing = (length: number): string => `0\r\nx-amz-checksum-crc32:${sum(length)}\r\n\r\n`;
const announced = (length: number): Record<string, string> => ({
  "x-amz-trailer": "x-amz-checksum-crc32",
  "x-amz-decoded-content-length": String(length),
});

test.each([
  ["short last chunk", chunks(8192, 10) + trailing(8202), announced(8202), "8202 bytes"],
  [
    "short chunk before the last",
    chunks(8191, 8192) + trailing(16383),
    announced(16383),
    "InvalidChunkSizeError",
  ],
  ["another checksum", chunks(100) + trailing(99), announced(100), "BadDigest"],
  ["no trailer", `${chunks(100)}0\r\n\r\n`, announced(100), "MalformedTrailerError"],
  [
    "a trailer that was not announced",
    chunks(9) + trailing(9),
    { "x-amz-decoded-content-length": "9" },
    "MalformedTrailerError",
  ],
  ["another length", chunks(100) + trailing(100), announced(101), "IncompleteBody"],
  ["no length", chunks(9) + trailing(9), { "x-amz-trailer": "x-amz-checksum-crc32" }, "MissingContentLength"],
  ["no end", chunks(100), announced(100), "IncompleteBody"],
])("aws-chunked: %s", (_, raw, headers, expected) => {
  expect(decoded(raw, headers)).toBe(expected);
});

test("aws-chunked: the example of AWS's documentation, and the same with a byte changed", () => {
  const key = ["20130524", "us-east-1", "s3", "aws4_request"].reduce<Buffer | string>(
    (secret, part) => createHmac("sha256", secret).update(part).digest(),
    "AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  ) as Buffer;
  const signature = () =>
    new Signature(
      "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      key,
      "20130524T000000Z",
      "20130524/us-east-1/s3/aws4_request",
      "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    );
  const raw =
    `10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n${"a".repeat(65536)}\r\n` +
    `400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n${"a".repeat(1024)}\r\n` +
    "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n";
  const headers = { "x-amz-decoded-content-length": "66560" };
  expect(decoded(raw, headers, signature())).toBe("66560 bytes");
  expect(decoded(raw.replace("aaaa\r\n400", "aaab\r\n400"), headers, signature())).toBe(
    "SignatureDoesNotMatch",
  );
});

test("checksums: the check values of their catalogue", () => {
  const hex = (algorithm: "crc32" | "crc32c" | "crc64nvme") =>
    Buffer.from(checksumOf(algorithm, Buffer.from("123456789")), "base64").toString("hex");
  expect([hex("crc32"), hex("crc32c"), hex("crc64nvme")]).toEqual([
    "cbf43926",
    "e3069283",
    "ae8b14860a799888",
  ]);
});

test("metadata above 2 KB, small parts, wrong order, wrong ETags, unannounced checksums", async () => {
  expect(await outcome(client.send(put("m", { Metadata: { a: "x".repeat(2047) } })))).toBe("accepted");
  expect(await outcome(client.send(put("m", { Metadata: { a: "x".repeat(2048) } })))).toBe(
    "MetadataTooLarge",
  );
  const Key = "parts";
  const create = new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: "CRC32" });
  const { UploadId } = await client.send(create);
  const part = async (PartNumber: number, Body: Buffer | string) => {
    const sent = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
    return { PartNumber, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32 };
  };
  const complete = (Parts: { PartNumber: number; ETag: string | undefined }[]) =>
    outcome(
      client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } })),
    );
  const [one, two] = [await part(1, "short"), await part(2, "last")];
  expect(await complete([one, two])).toBe("EntityTooSmall");
  expect(await complete([two, one])).toBe("InvalidPartOrder");
  expect(await complete([{ ...one, ETag: two.ETag }])).toBe("InvalidPart");
  expect(await complete([{ PartNumber: 1, ETag: one.ETag }])).toBe("InvalidRequest");
  expect(await complete([one])).toBe("accepted");
  expect(await complete([one])).toBe("NoSuchUpload");
  const other = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const unannounced = { Bucket, Key, UploadId: other.UploadId, PartNumber: 1, Body: "x" };
  expect(await outcome(client.send(new UploadPartCommand(unannounced)))).toBe("InvalidRequest");
});

test("a copy of an object onto itself, and a policy that is not understood", async () => {
  const copy = new CopyObjectCommand({ Bucket, Key: "there", CopySource: `${Bucket}/there` });
  expect(await outcome(client.send(copy))).toBe("InvalidRequest");
  const Statement = [
    {
      Effect: "Deny",
      Principal: "*",
      Action: "s3:*",
      Resource: `arn:aws:s3:::${Bucket}/*`,
      Condition: { Odd: {} },
    },
  ];
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement });
  expect(await outcome(client.send(new PutBucketPolicyCommand({ Bucket, Policy })))).toBe("MalformedPolicy");
});
