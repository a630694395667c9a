// Every input field of the object requests, from the SDK's own schemas: it is in the table, and goes with a request that
// becomes several to each of them that takes it, or is refused before anything is sent.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import {
  type FieldMeaning,
  type FurtherRequest,
  meaningOf,
  repeatFields,
  sourceFields,
} from "../../src/s3/request-fields.ts";
import { encryptS3Client } from "../../src/s3.ts";

const Bucket = "bucket";
const Key = "folder/key";
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });

type Command = new (input: Record<string, unknown>) => { readonly schema: readonly unknown[] };

/** The names of the fields that a request takes, as the SDK serializes it. */
function fieldsOf(name: string): readonly string[] {
  const Class = (sdk as unknown as Record<string, Command>)[`${name}Command`];
  if (Class === undefined) throw new Error(`no command ${name}`);
  const input = new Class({ Bucket, Key }).schema[4];
  const schema = (typeof input === "function" ? input() : input) as readonly unknown[];
  return schema[4] as readonly string[];
}

const commands = [
  "PutObject",
  "CopyObject",
  "CreateMultipartUpload",
  "UploadPart",
  "UploadPartCopy",
  "CompleteMultipartUpload",
  "AbortMultipartUpload",
  "ListParts",
  "GetObject",
  "HeadObject",
  "GetObjectTagging",
] as const satisfies readonly FurtherRequest[];

/** Fields of one request that another takes as well, and which are not to be repeated, with the reason. */
const notRepeated: Readonly<Partial<Record<FieldMeaning, string>>> = {
  own: "its code decides",
  source: "named otherwise in the requests that read the source",
  "plaintext-digest": "refused",
  refused: "refused",
};
/** Conditions of writes are none of the reads that follow them. */
const conditional = new Set(["PutObject", "CopyObject", "CompleteMultipartUpload"]);

describe("table of request fields", () => {
  test.each(commands)("%s: every field has a meaning", (name) => {
    expect(fieldsOf(name).length).toBeGreaterThan(4);
    expect(fieldsOf(name).filter((field) => meaningOf(field) === undefined)).toEqual([]);
  });

  /** Which requests follow from which. */
  const pairs = Object.entries({
    PutObject: [
      "CreateMultipartUpload",
      "UploadPart",
      "CompleteMultipartUpload",
      "AbortMultipartUpload",
      "GetObject",
      "HeadObject",
    ],
    CreateMultipartUpload: [
      "UploadPart",
      "CompleteMultipartUpload",
      "AbortMultipartUpload",
      "ListParts",
      "GetObject",
    ],
    CompleteMultipartUpload: ["UploadPart", "AbortMultipartUpload", "GetObject", "HeadObject"],
    CopyObject: ["PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject"],
    GetObject: ["HeadObject"],
    HeadObject: ["GetObject"],
  } satisfies Partial<Record<(typeof commands)[number], readonly FurtherRequest[]>>).flatMap(([from, all]) =>
    all.map((to) => [from, to] as const),
  );
  test.each(pairs)("%s to %s: what both take is repeated, what the other lacks is not", (from, to) => {
    const input = Object.fromEntries(fieldsOf(from).map((field) => [field, "value"]));
    const repeated = Object.keys(repeatFields(input, to));
    const taken = new Set(fieldsOf(to));
    const expected = fieldsOf(from).filter((field) => {
      const meaning = meaningOf(field) ?? "own";
      if (!taken.has(field) || notRepeated[meaning] !== undefined) return false;
      return meaning !== "condition" || conditional.has(to);
    });
    expect(repeated.sort()).toEqual(expected.sort());
  });

  test("what a copy says of its source becomes what reads of it say", () => {
    const copy = fieldsOf("CopyObject").filter((field) => meaningOf(field) === "source");
    const input = Object.fromEntries(copy.map((field) => [field, field]));
    const read = sourceFields({ ...input, RequestPayer: "requester" });
    const taken = new Set(fieldsOf("HeadObject"));
    expect(Object.keys(read).filter((field) => !taken.has(field))).toEqual([]);
    // CopySource itself becomes bucket, key and version.
    expect(Object.keys(read)).toHaveLength(copy.filter((field) => field !== "CopySource").length + 1);
  });
});

/** A value of the type that a field has. */
function sample(field: string): unknown {
  const special: Readonly<Record<string, unknown>> = {
    BucketKeyEnabled: true,
    Expires: new Date(1e12),
    ObjectLockRetainUntilDate: new Date(2e12),
    ObjectLockEventHoldDurationDays: 3,
    ObjectLockEventHoldDurationYears: 4,
    SSECustomerKey: Buffer.alloc(32, 7).toString("base64"),
    SSECustomerAlgorithm: "AES256",
    ChecksumAlgorithm: "CRC32",
    IfNoneMatch: "*",
  };
  return special[field] ?? `value-of-${field}`;
}

interface Seen {
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}

/** A client that sends nothing: what would be sent is recorded, and answered as S3 would. */
function recordingClient(): { client: sdk.S3Client; seen: Seen[] } {
  const client = new sdk.S3Client({
    region: "us-east-1",
    endpoint: "https://127.0.0.1:9",
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
  });
  const seen: Seen[] = [];
  client.middlewareStack.add(
    (_, context) => async (args) => {
      const name = (context.commandName ?? "").replace(/Command$/, "");
      seen.push({ name, input: { ...(args.input as Record<string, unknown>) } });
      return { output: { $metadata: {}, ETag: '"e"', UploadId: "upload", PartNumber: 1 }, response: {} };
    },
    { step: "initialize", name: "record", priority: "low" },
  );
  return { client, seen };
}

describe("requests that become several", () => {
  test("PutObject of three parts: each field goes to every request that takes it", async () => {
    const { client, seen } = recordingClient();
    const fields = fieldsOf("PutObject").filter((field) => {
      const meaning = meaningOf(field) ?? "own";
      // It describes the plaintext, but HTTP applies it to what is sent: it goes into the metadata.
      return notRepeated[meaning] === undefined && field !== "ContentEncoding";
    });
    const input = Object.fromEntries(fields.map((field) => [field, sample(field)]));
    await encryptS3Client(client, { keyring, partSize: 5 * 2 ** 20 }).send(
      new sdk.PutObjectCommand({ ...input, Bucket, Key, Body: Buffer.alloc(11 * 2 ** 20) }),
    );
    const names = seen.map(({ name }) => name);
    expect(names).toEqual([
      "CreateMultipartUpload",
      "UploadPart",
      "UploadPart",
      "UploadPart",
      "CompleteMultipartUpload",
    ]);
    const missing = seen.flatMap((request) =>
      Object.keys(repeatFields(input, request.name as FurtherRequest))
        .filter((field) => request.input[field] === undefined)
        .map((field) => `${field} of ${request.name}`),
    );
    expect(missing).toEqual([]);
    const everywhere = fields.filter((field) => seen.some((request) => request.input[field] !== undefined));
    expect(fields.filter((field) => !everywhere.includes(field))).toEqual([]);
  });

  const refused = fieldsOf("PutObject").filter((field) =>
    ["plaintext-digest", "refused"].includes(meaningOf(field) ?? ""),
  );
  test.each(refused)("PutObject with %s is refused before anything is sent", async (field) => {
    const { client, seen } = recordingClient();
    const sent = encryptS3Client(client, { keyring }).send(
      new sdk.PutObjectCommand({ Bucket, Key, Body: "text", [field]: sample(field) }),
    );
    await expect(sent).rejects.toThrow(/expected undefined|appended/);
    expect(seen).toEqual([]);
  });

  test.each(["PutObject", "CopyObject", "CreateMultipartUpload"])(
    "%s with a field that nobody has decided on is refused before anything is sent",
    async (name) => {
      const { client, seen } = recordingClient();
      const Class = (sdk as unknown as Record<string, Command>)[`${name}Command`] as Command;
      const command = new Class({ Bucket, Key, CopySource: `${Bucket}/a`, ObjectColour: "blue" });
      const sent = encryptS3Client(client, { keyring }).send(command as never);
      await expect(sent).rejects.toMatchObject({ code: "UNSUPPORTED" });
      expect(seen).toEqual([]);
    },
  );
});
