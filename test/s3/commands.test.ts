// Every command of the installed SDK has its row, passed commands carry no data of objects, and whatever is not in the
// table does not pass with a body.
import * as S3 from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { getEndpointPlugin } from "@smithy/core/endpoints";
import { describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { carriedBy } from "../../src/s3/command-schema.ts";
import { commandTable, decide } from "../../src/s3/commands.ts";
import type { MiddlewareStack } from "../../src/s3/sdk-client.ts";
import { encryptS3Client } from "../../src/s3.ts";

type CommandClass = new (
  input: object,
) => { readonly schema: readonly unknown[]; readonly input: Record<string, unknown> };

/** The commands that the SDK exports, by name without `Command`. */
const commands = new Map<string, CommandClass>();
for (const [name, value] of Object.entries(S3))
  if (/^\w+Command$/.test(name)) commands.set(name.replace(/Command$/, ""), value as unknown as CommandClass);
const schemaOf = (name: string): readonly unknown[] => {
  const Command = commands.get(name);
  if (Command === undefined) throw new Error(`no command ${name}`);
  return new Command({}).schema;
};
const names = [...commands.keys()];
const rows = Object.entries(commandTable);
const rowsOf = (treatment: string) =>
  rows.filter(([, row]) => row.treatment === treatment).map(([name]) => name);

describe("the table", () => {
  test("has a row for each command of the SDK, and no other", () => {
    expect(names.length).toBeGreaterThan(100);
    expect(names.filter((name) => !Object.hasOwn(commandTable, name))).toEqual([]);
    expect(rows.map(([name]) => name).filter((name) => !commands.has(name))).toEqual([]);
  });

  test("says why it refuses", () => {
    for (const [name, row] of rows)
      if (row.treatment === "refused" || row.presigned === "refused")
        expect(row.reason ?? "", name).toMatch(/\w+ \w+ \w+/);
  });

  test("passes no command whose request or answer has bytes", () => {
    for (const name of rowsOf("passed")) {
      const carried = carriedBy(schemaOf(name));
      expect([name, carried?.input.bytes, carried?.output.bytes]).toEqual([name, false, false]);
    }
  });

  test("seals or refuses what sends bytes, opens or refuses what answers with bytes", () => {
    const carrying = (side: "input" | "output") =>
      names.filter((name) => carriedBy(schemaOf(name))?.[side].bytes === true);
    expect(carrying("input").sort()).toEqual([
      "PutObject",
      "PutObjectAnnotation",
      "UploadPart",
      "WriteGetObjectResponse",
    ]);
    for (const name of carrying("input"))
      expect(commandTable[name]?.treatment, name).toMatch(/^(sealed|refused)$/);
    for (const name of carrying("output"))
      expect(commandTable[name]?.treatment, name).toMatch(/^(opened|refused)$/);
    expect(rowsOf("sealed")).toEqual(["PutObject", "UploadPart"]);
    expect(rowsOf("opened")).toEqual(["GetObject"]);
  });

  test("signs nothing for later that stores data", () => {
    for (const [name, row] of rows)
      if (row.treatment === "sealed" || row.treatment === "refused")
        expect(row.presigned, name).toBe("refused");
    for (const name of ["CreateMultipartUpload", "CompleteMultipartUpload", "CopyObject"])
      expect(commandTable[name]?.presigned, name).toBe("refused");
  });
});

describe("what the table does not know", () => {
  const structure = (members: Record<string, unknown>) => [
    3,
    "com.amazonaws.s3",
    "Made",
    0,
    Object.keys(members),
    Object.values(members),
  ];
  const made = (input: Record<string, unknown>, output: Record<string, unknown> = {}) => ({
    name: "MakeUp",
    schema: [
      9,
      "com.amazonaws.s3",
      "MakeUp",
      { http: ["PUT", "/{Key+}", 200] },
      () => structure(input),
      () => structure(output),
    ],
  });
  const streamingBlob = [0, "com.amazonaws.s3", "StreamingBlob", { streaming: 1 }, 42];
  const fields = { Bucket: [0, 1], Key: [0, 1], Mode: [0, { httpHeader: "x-amz-mode" }] };

  test.each([
    ["a streamed payload", made({ ...fields, Body: [() => streamingBlob, 16] })],
    ["a blob payload", made({ ...fields, Body: [21, 16] })],
    ["text as payload", made({ ...fields, Text: [0, 16] })],
    ["a structure as payload", made({ ...fields, It: [() => structure({ Text: 0 }), { httpPayload: 1 }] })],
    ["text in its XML", made({ ...fields, Text: 0 })],
    ["a blob in a header", made({ ...fields, Blob: [21, { httpHeader: "x-amz-blob" }] })],
    ["a streamed answer", made(fields, { Body: [() => streamingBlob, 16] })],
    ["text as answer", made(fields, { Text: [0, 16] })],
    [
      "a blob deep in its answer",
      made(fields, { Rows: [() => [1, "n", "Rows", 0, () => structure({ Cell: 21 })], 0] }),
    ],
    ["blobs in a list of its answer", made(fields, { Rows: [64 | 21, 0] })],
    [
      "an event stream as answer",
      made(fields, {
        Events: [() => [4, "n", "Events", { streaming: 1 }, ["A"], [() => structure({})]], 16],
      }),
    ],
    ["no schema", { name: "MakeUp", schema: undefined }],
    ["a schema of an unknown kind", { name: "MakeUp", schema: { made: "up" } }],
    ["no name", { name: undefined, schema: undefined }],
  ])("is refused with %s", (_, operation) => {
    for (const use of ["sent", "presigned"] as const)
      expect(() => decide(operation, use)).toThrow(expect.objectContaining({ code: "POLICY" }));
  });

  test("passes without any, but is not signed for later", () => {
    const listing = made(fields, { Names: [64, 0], Next: 0 });
    expect(decide(listing, "sent")).toBe("passed");
    expect(() => decide(listing, "presigned")).toThrow(expect.objectContaining({ code: "POLICY" }));
  });

  test("is refused under the name of a command that passes", () => {
    const operation = { ...made({ ...fields, Body: [() => streamingBlob, 16] }), name: "PutBucketTagging" };
    expect(() => decide(operation, "sent")).toThrow(expect.objectContaining({ code: "POLICY" }));
  });

  test("names of objects in general are no rows", () => {
    for (const name of ["constructor", "toString", "__proto__"])
      expect(() => decide({ name, schema: undefined }, "sent")).toThrow(
        expect.objectContaining({ code: "POLICY" }),
      );
  });
});

describe("a client", () => {
  const requests: unknown[] = [];
  const plain = new S3.S3Client({
    region: "us-east-1",
    credentials: { accessKeyId: "a", secretAccessKey: "b" },
    maxAttempts: 1,
    requestHandler: {
      handle(request: unknown) {
        requests.push(request);
        return Promise.reject(new Error("sent"));
      },
      updateHttpClientConfig() {},
      httpHandlerConfigs: () => ({}),
    },
  });
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 7) });
  const client = encryptS3Client(plain, { keyring, engine: "node" });
  const outcome = async (work: () => unknown): Promise<{ code?: unknown; message: string; sent: number }> => {
    const before = requests.length;
    const told = (error: Error & { code?: unknown }, sent: number) => ({
      code: error.code,
      message: error.message,
      sent,
    });
    try {
      await work();
    } catch (error) {
      return told(error as Error, requests.length - before);
    }
    return { message: "accepted", sent: requests.length - before };
  };
  const send = (command: unknown, on: S3.S3Client = client) =>
    outcome(() => on.send(command as S3.PutObjectCommand));
  const presign = (command: unknown) =>
    outcome(() => getSignedUrl(client as never, command as never, { expiresIn: 60 }));
  const input = { Bucket: "bucket", Key: "key", UploadId: "u", PartNumber: 1, CopySource: "bucket/other" };
  const made = (name: string) => {
    const Command = commands.get(name);
    if (Command === undefined) throw new Error(`no command ${name}`);
    return new Command({ ...input, Body: "text" });
  };

  test.each(rowsOf("refused"))("refuses %s before anything is sent", async (name) => {
    for (const result of [await send(made(name)), await presign(made(name))]) {
      expect(result).toMatchObject({ code: "POLICY", sent: 0 });
      expect(result.message).toContain(commandTable[name]?.reason ?? "no reason");
    }
  });

  test.each(rowsOf("passed"))("passes %s as it is", async (name) => {
    expect(await send(made(name))).toEqual({ code: undefined, message: "sent", sent: 1 });
    expect(requests.at(-1)).toMatchObject({ hostname: expect.stringContaining("amazonaws.com") });
  });

  test.each(rows.map(([name]) => name))("presigns %s as the table says", async (name) => {
    const result = await presign(made(name));
    if (commandTable[name]?.presigned === "allowed") expect(result).toEqual({ message: "accepted", sent: 0 });
    else expect(result).toMatchObject({ code: "POLICY", sent: 0 });
  });

  test("refuses a restore that selects, and passes one that restores", async () => {
    const restore = (RestoreRequest: S3.RestoreRequest) =>
      new S3.RestoreObjectCommand({ ...input, RestoreRequest });
    for (const request of [
      { Type: "SELECT" as const },
      { OutputLocation: { S3: { BucketName: "b", Prefix: "p" } } },
      {
        SelectParameters: {
          Expression: "",
          ExpressionType: "SQL",
          InputSerialization: {},
          OutputSerialization: {},
        },
      },
    ] as const) {
      expect(await send(restore(request))).toMatchObject({ code: "POLICY", sent: 0 });
      expect(await presign(restore(request))).toMatchObject({ code: "POLICY", sent: 0 });
    }
    expect(await send(restore({ Days: 1 }))).toMatchObject({ message: "sent", sent: 1 });
  });

  const { PutObject$ } = S3 as unknown as { readonly PutObject$: readonly unknown[] };
  const build = (operation: string, name: string, schema: unknown) => {
    const { getEndpointParameterInstructions } = S3.PutObjectCommand;
    const parameters = getEndpointParameterInstructions();
    const builder = S3.$Command
      .classBuilder()
      .ep(parameters)
      .m((_, __, config) => [getEndpointPlugin(config, parameters)])
      .s("AmazonS3", operation, {})
      .n("S3Client", name);
    return (schema === undefined ? builder : builder.sc(schema as never)).build() as unknown as CommandClass;
  };

  test("knows a command by what it sends, not by the name of its class", async () => {
    class a extends S3.PutObjectCommand {}
    class GetObjectCommand extends S3.PutObjectCommand {}
    class ListBucketsCommand extends S3.PutObjectAnnotationCommand {}
    class Anonymous extends build("ListBuckets", "ListBucketsCommand", PutObject$) {}
    for (const Command of [a, GetObjectCommand, Anonymous, build("", "", PutObject$)]) {
      const command = new Command({ ...input, Body: "plaintext" } as never);
      // The object is looked for, since the answer seems to be lost.
      expect(await send(command)).toMatchObject({ message: "sent", sent: 2 });
      const { body } = requests.at(-2) as { body: Uint8Array };
      expect(body.length).toBeGreaterThan(100);
      expect(Buffer.from(body).includes("plaintext")).toBe(false);
      expect(await presign(command)).toMatchObject({ code: "POLICY", sent: 0 });
    }
    const annotation = new ListBucketsCommand({
      ...input,
      AnnotationName: "n",
      AnnotationPayload: "plaintext",
    });
    expect(await send(annotation)).toMatchObject({ code: "POLICY", sent: 0 });
  });

  test("refuses a command without a schema that the table does not know, and knows others by their operation", async () => {
    const unknown = new (build("PutThing", "PutThingCommand", undefined))({ ...input, Body: "plaintext" });
    expect(await send(unknown)).toMatchObject({ code: "POLICY", sent: 0 });
    expect(await presign(unknown)).toMatchObject({ code: "POLICY", sent: 0 });
    const annotation = new (build("PutObjectAnnotation", "FooCommand", undefined))(input);
    expect(await send(annotation)).toMatchObject({ code: "POLICY", sent: 0 });
    const named = new (build("", "PutObjectAnnotationCommand", undefined))(input);
    expect(await send(named)).toMatchObject({ code: "POLICY", sent: 0 });
  });

  test("refuses what goes around the middleware, or is no command", async () => {
    const request = { hostname: "s3.amazonaws.com", method: "PUT", path: "/key", body: "plaintext" };
    const around = {
      input,
      resolveMiddleware:
        (_: unknown, config: { requestHandler: { handle(request: unknown): unknown } }) => () =>
          config.requestHandler.handle(request),
    };
    expect(await send(around)).toMatchObject({ code: "POLICY", sent: 0 });
    class Without extends S3.PutObjectCommand {
      override resolveMiddleware(stack: never, config: never, options: never): never {
        const others = (stack as MiddlewareStack).clone();
        others.remove("framesealEncryption" as never);
        return super.resolveMiddleware(others as never, config, options) as never;
      }
    }
    const without = new Without({ ...input, Body: "plaintext" });
    expect(await send(without)).toMatchObject({ code: "POLICY", sent: 0 });
    class Elsewhere extends S3.PutObjectCommand {
      override resolveMiddleware(_: never, config: never, options: never): never {
        return super.resolveMiddleware(plain.middlewareStack, config, options) as never;
      }
    }
    const elsewhere = new Elsewhere({ ...input, Body: "plaintext" });
    expect(await send(elsewhere)).toMatchObject({ code: "POLICY", sent: 0 });
    for (const nothing of [undefined, null, {}, "PutObject"])
      expect((await send(nothing)).message).toContain('"command" expected a command of the SDK');
  });
});
