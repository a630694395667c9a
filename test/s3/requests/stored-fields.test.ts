// What answers say of the stored bytes: every field of every answer that could be taken for the plaintext's is decided,
// from the SDK's own schemas.
import { randomBytes } from "node:crypto";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { commandTable } from "../../../src/s3/commands.ts";
import { describesStored, withoutStoredFields } from "../../../src/s3/requests/stored-fields.ts";
import { encryptS3Client } from "../../../src/s3.ts";
import { S3Server } from "../../support/s3-server.ts";

type Structure = readonly [number, string, string, unknown, readonly string[], readonly unknown[]];

/** Every field of the answer to a command, at any depth, as `A.B`. */
function fieldsOf(command: string): string[] {
  const Class = (sdk as unknown as Record<string, new (input: object) => { schema: readonly unknown[] }>)[
    `${command}Command`
  ];
  if (Class === undefined) throw new Error(`no command ${command}`);
  return walk(new Class({ Bucket: "b", Key: "k" }).schema[5], "", new Set());
}

function walk(reference: unknown, prefix: string, above: ReadonlySet<unknown>): string[] {
  let type = reference;
  while (typeof type === "function") type = (type as () => unknown)();
  if (!Array.isArray(type) || above.has(type)) return [];
  if (typeof type[0] !== "number") return walk(type[0], prefix, above); // a type with traits
  const seen = new Set([...above, type]);
  if (!Array.isArray(type[5])) return walk(type[4], prefix, seen); // a list
  const [, , , , names, types] = type as unknown as Structure;
  return names.flatMap((name, index) => [
    `${prefix}${name}`,
    ...walk(types[index], `${prefix}${name}.`, seen),
  ]);
}

/** Names of what the length or the bytes of an object decide. */
const SUSPICIOUS = /Checksum|Size|Length|Range$|Count|Parts$|Digest|MD5/;

/** What is told all the same, and why. */
const decided: Readonly<Record<string, string>> = {
  "CreateMultipartUpload ChecksumAlgorithm": "the caller's choice for the parts",
  "CreateMultipartUpload ChecksumType": "the caller's choice for the parts",
  "CopyObject SSECustomerKeyMD5": "of a key",
  "GetObject ContentLength": "translated",
  "GetObject ContentRange": "translated",
  "GetObject TagCount": "of tags",
  "HeadObject ContentLength": "translated",
  "HeadObject ContentRange": "never asked for",
  "HeadObject TagCount": "of tags",
  "GetObjectAttributes Checksum": "left out",
  "GetObjectAttributes ObjectParts": "left out",
  "GetObjectAttributes ObjectSize": "translated",
  "ListObjects Contents.Size": "translated",
  "ListObjectsV2 Contents.Size": "translated",
  "ListObjectVersions Versions.Size": "translated",
  "ListObjectsV2 KeyCount": "of keys",
  "ListParts Parts": "translated, part by part",
  "ListParts MaxParts": "the caller's",
};
/** Algorithms by name, and what parts of an upload need to be completed. */
const told = (line: string): boolean =>
  /^List\w+ (Contents|Versions)\.Checksum(Algorithm|Type)$/.test(line) ||
  /^(ListParts|UploadPart) /.test(line) ||
  /\.SSECustomerKeyMD5$| SSECustomerKeyMD5$/.test(line) ||
  /^GetObjectAttributes (Checksum|ObjectParts)\./.test(line);

const handled = Object.entries(commandTable)
  .filter(([, { treatment }]) => !["passed", "refused"].includes(treatment))
  .map(([name]) => name);

test.each(handled)(
  "%s: every field of its answer that stored bytes could decide is removed or decided",
  (command) => {
    const open = fieldsOf(command)
      .filter((field) => SUSPICIOUS.test(field.split(".").at(-1) ?? ""))
      .filter((field) => {
        const parts = field.split(".");
        let answer: unknown = 1;
        for (const part of [...parts].reverse()) answer = { [part]: answer };
        let left: unknown = withoutStoredFields(command, answer as Record<string, unknown>);
        for (const part of parts) left = (left as Record<string, unknown> | undefined)?.[part];
        return left !== undefined;
      })
      .map((field) => `${command} ${field}`)
      .filter((line) => decided[line] === undefined && !told(line));
    expect(open).toEqual([]);
  },
);

test("the schemas are read", () => {
  expect(fieldsOf("PutObject")).toContain("ChecksumCRC32");
  expect(fieldsOf("CopyObject")).toContain("CopyObjectResult.ChecksumSHA256");
  expect(fieldsOf("ListObjectsV2")).toContain("Contents.Size");
  expect(fieldsOf("GetObject").filter(describesStored).length).toBeGreaterThan(5);
  expect(handled.length).toBeGreaterThan(12);
  for (const line of Object.keys(decided)) {
    const [command = "", field = ""] = line.split(" ");
    expect(fieldsOf(command), line).toContain(field);
    expect(field, line).toMatch(SUSPICIOUS);
  }
});

describe("on the wire", () => {
  let server: S3Server;
  let plain: sdk.S3Client;
  beforeAll(async () => {
    server = await S3Server.start();
    plain = server.client();
    await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
    // As S3 does, the server tells the checksums of what it has stored.
    plain.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const result = await next(args);
          if (commandName === "UploadPartCommand") return result; // Complete would repeat it
          const output = result.output as unknown as Record<string, unknown>;
          const stored = { ChecksumCRC32: "AAAAAA==", ChecksumType: "FULL_OBJECT", Size: 1, PartsCount: 1 };
          const nested = output.CopyObjectResult as object | undefined;
          return {
            ...result,
            output: {
              ...output,
              ...stored,
              ...(nested === undefined ? {} : { CopyObjectResult: { ...nested, ...stored } }),
            } as never,
          };
        },
      { step: "deserialize", name: "tellsChecksums", priority: "high" },
    );
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test("put, get, head, copies and uploads tell nothing of the stored bytes", async () => {
    const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
    for (const bind of ["none", "key"] as const) {
      const client = encryptS3Client(plain, { keyring, bind, boundCopy: "reencrypt" });
      const target = { Bucket: "b", Key: "k" };
      const small = await client.send(new sdk.PutObjectCommand({ ...target, Body: "x" }));
      const long = { ...target, Body: randomBytes(9 * 2 ** 20) };
      const answers: object[] = [
        small,
        await client.send(new sdk.PutObjectCommand(long)),
        await client.send(new sdk.HeadObjectCommand(target)),
        await client.send(new sdk.CopyObjectCommand({ Bucket: "b", Key: "copy", CopySource: "b/k" })),
      ];
      const got = await client.send(new sdk.GetObjectCommand(target));
      (got.Body as unknown as { destroy(): void }).destroy();
      answers.push(got);
      for (const answer of answers) {
        const { CopyObjectResult, ...output } = answer as sdk.CopyObjectCommandOutput;
        const names = [...Object.keys(output), ...Object.keys(CopyObjectResult ?? {})];
        expect(names.filter(describesStored)).toEqual([]);
        expect(names).toContain("$metadata");
      }
      expect(small.ETag).toBeDefined();
    }
  });
});
