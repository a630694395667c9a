// Which commands carry SSE-C keys and name an encryption at rest, from the SDK's own schemas: each of them is decided.
import { randomBytes } from "node:crypto";
import * as S3 from "@aws-sdk/client-s3";
import { beforeEach, describe, expect, test } from "vitest";
import { serverSideEncryptS3Client, sseC, sseS3 } from "../../../src/s3.ts";

interface Command {
  readonly input: object;
  readonly schema: readonly [...unknown[]];
}
const commands = Object.entries(S3)
  .filter(([name]) => /^\w+Command$/.test(name))
  .map(
    ([name, value]) =>
      [name.replace(/Command$/, ""), value as unknown as new (input: object) => Command] as const,
  );

/** The input fields of a command, with the header that each becomes. */
function fieldsOf(Command: new (input: object) => Command): Map<string, string> {
  const input = new Command({}).schema[4];
  const structure = (typeof input === "function" ? input() : input) as readonly unknown[];
  const [names, members] = [structure[4] ?? [], structure[5] ?? []] as [string[], unknown[]];
  return new Map(
    names.map((name, index) => {
      const traits = (members[index] as [unknown, { httpHeader?: string } | undefined])[1];
      return [name, traits?.httpHeader ?? ""];
    }),
  );
}

let requests: { headers: Record<string, string> }[] = [];
beforeEach(() => {
  requests = [];
});
const plain = (endpoint: string): S3.S3Client =>
  new S3.S3Client({
    region: "us-east-1",
    endpoint,
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
    maxAttempts: 1,
    requestHandler: {
      handle(request: unknown) {
        requests.push(request as { headers: Record<string, string> });
        return Promise.reject(new Error("sent"));
      },
      updateHttpClientConfig() {},
      httpHandlerConfigs: () => ({}),
    },
  });
const input = {
  Bucket: "bucket",
  Key: "key",
  UploadId: "id",
  PartNumber: 1,
  CopySource: "bucket/source",
  Body: "",
  RequestRoute: "route",
  RequestToken: "token",
};
const send = async (
  client: S3.S3Client,
  Command: new (input: object) => Command,
  more: object = {},
): Promise<string> =>
  client.send(new Command({ ...input, ...more }) as never).then(
    () => "accepted",
    (error: Error) => error.message,
  );

describe("customer keys", () => {
  const [own, source] = [randomBytes(32), randomBytes(32)];
  const encryption = sseC(({ key }) => (key === "source" ? source : own));
  const carrying = commands.filter(([, Command]) => fieldsOf(Command).has("SSECustomerKey"));

  test("are carried by the commands that the SDK says", () => {
    expect(carrying.length).toBeGreaterThan(9);
    for (const [, Command] of commands)
      for (const [field, header] of fieldsOf(Command))
        if (/CustomerKey$/.test(field)) expect(header).toMatch(/server-side-encryption-customer-key$/);
  });

  test.each(commands)("%s has them if, and only if, it has a field for them", async (_, Command) => {
    expect(await send(serverSideEncryptS3Client(plain("https://s3.example"), encryption), Command)).toBe(
      "sent",
    );
    const { headers } = requests[0] ?? { headers: {} };
    for (const [field, key] of [
      ["SSECustomerKey", own],
      ["CopySourceSSECustomerKey", source],
    ] as const) {
      const header = fieldsOf(Command).get(field);
      if (header !== undefined) expect(headers[header]).toBe(key.toString("base64"));
      else expect(Object.values(headers)).not.toContain(key.toString("base64"));
    }
  });

  test.each(carrying)("of %s do not leave over http, whoever gave them", async (_, Command) => {
    const insecure = plain("http://s3.example");
    const refusal = expect.stringContaining("SSE-C sends its key with every request");
    expect(await send(serverSideEncryptS3Client(insecure, encryption), Command)).toEqual(refusal);
    const given = { SSECustomerAlgorithm: "AES256", SSECustomerKey: own.toString("base64") };
    expect(await send(serverSideEncryptS3Client(insecure, sseS3()), Command, given)).toEqual(refusal);
    expect(requests).toEqual([]);
  });
});

test("every command that can name an encryption at rest does, or is left alone for a reason", async () => {
  const left: Readonly<Record<string, string>> = {
    CreateSession: "the SDK makes sessions by itself, with the encryption of the bucket",
    WriteGetObjectResponse: "tells how an object was encrypted, and makes none",
  };
  const naming = commands.filter(([, Command]) => fieldsOf(Command).has("ServerSideEncryption"));
  expect(naming.length).toBeGreaterThan(3);
  for (const [name, Command] of naming) {
    requests = [];
    await send(serverSideEncryptS3Client(plain("https://s3.example"), sseS3()), Command);
    const header = fieldsOf(Command).get("ServerSideEncryption") ?? "";
    const expected = left[name] === undefined ? "AES256" : undefined;
    expect([name, requests[0]?.headers[header]]).toEqual([name, expected]);
  }
});
