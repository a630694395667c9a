// Every command of the installed SDK has its row, passed commands carry no data of objects, and whatever is not in the
// table does not pass with a body.
import * as S3 from "@aws-sdk/client-s3";
import { describe, expect, test } from "vitest";
import { carriedBy } from "../../src/s3/command-schema.ts";
import { commandTable, decide } from "../../src/s3/commands.ts";

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
