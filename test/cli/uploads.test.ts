// frameseal uploads: what never ended is listed, told apart and aborted; nothing else is.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, CreateMultipartUploadCommand, UploadPartCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { defaultJournalFile } from "../../src/backup/journal/default-file.ts";
import { openJournal } from "../../src/backup/journal/open-journal.ts";
import { frameseal, type RunResult } from "../support/command-line.ts";
import { S3Server } from "../support/s3-server.ts";

const Bucket = "bucket";
let server: S3Server;
let folder: string;

beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-uploads-"));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  server.uploads.clear();
  server.fault = () => undefined;
});

const uploads = (...args: string[]): Promise<RunResult> =>
  frameseal(["uploads", "--endpoint", server.endpoint, ...args], {
    cwd: folder,
    env: {
      AWS_ACCESS_KEY_ID: "a",
      AWS_SECRET_ACCESS_KEY: "b",
      AWS_REGION: "us-east-1",
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      XDG_STATE_HOME: path.join(folder, "state"),
    },
  });

async function create(Key: string, ...parts: number[]): Promise<string> {
  const client = server.client();
  const { UploadId = "" } = await client.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: "CRC32" }),
  );
  for (const [index, length] of parts.entries())
    await client.send(
      new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: index + 1, Body: Buffer.alloc(length) }),
    );
  return UploadId;
}
const begun = (): string[] => [...server.uploads.values()].map(({ key }) => key).sort();
const recordsOf = ({ stdout }: RunResult) =>
  stdout
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

async function journalOf(prefix: string) {
  const identity = { endpoint: `${server.endpoint}/`, bucket: Bucket, prefix };
  const file = defaultJournalFile(identity, "", path.join(folder, "state"));
  mkdirSync(path.dirname(file), { recursive: true });
  return openJournal({ file, identity });
}

test("lists names that are none of a terminal, with what is stored, and changes nothing", async () => {
  await create("p/\u001b[31mred\n", 1000, 24);
  await create("p");
  await create("q/other");
  const { code, stdout, stderr } = await uploads("s3://bucket/p");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const lines = stdout.toString().split("\n");
  expect(lines).toEqual([
    expect.stringMatching(/^s3:\/\/bucket\/p \(0 B in 0 parts, begun 20\S+Z, id [0-9a-f-]+\)$/),
    expect.stringMatching(/^s3:\/\/bucket\/p\/\\u001b\[31mred\\u000a \(1\.00 KiB in 2 parts, /),
    "",
  ]);
  expect(begun().length).toBe(3);
});

test("aborts what is below the prefix, and tells what it could not abort", async () => {
  await create("p/a", 10);
  const kept = await create("p/b");
  await create("q/c");
  server.fault = ({ method, key }) =>
    method === "DELETE" && key === "p/b" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  const result = await uploads("s3://bucket/p/", "--abort", "--json");
  expect(result.code).toBe(4);
  expect(result.stderr).toMatch(/1 of 2 uploads could not be aborted/);
  expect(recordsOf(result)).toEqual([
    expect.objectContaining({
      record: "upload",
      key: "p/a",
      parts: 1,
      size: 10,
      action: "abort",
      of: "unknown",
    }),
    expect.objectContaining({ key: "p/b", uploadId: kept, error: expect.stringContaining("AccessDenied") }),
    { record: "summary", listed: 2, aborted: 1, failed: 1 },
  ]);
  expect(begun()).toEqual(["p/b", "q/c"]);
});

test("knows what the next run goes on with; aborted, the journal forgets it", async () => {
  const id = await create("j/large");
  await create("j/stranger");
  const journal = await journalOf("j/");
  journal.beginUpload({
    key: "j/large",
    uploadId: id,
    partSize: 1,
    size: 1,
    mtimeNs: 1n,
    ctimeNs: 1n,
    inode: 1n,
  });
  // While a run has the journal nothing is aborted, but all is listed.
  const refused = await uploads("s3://bucket/j/", "--abort");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining(`in use by process ${process.pid}`),
  ]);
  expect(recordsOf(await uploads("s3://bucket/j/", "--json"))[0]).toMatchObject({
    of: "running",
    action: "list",
  });
  journal.close();
  expect(begun()).toEqual(["j/large", "j/stranger"]);
  const [large, stranger] = recordsOf(await uploads("s3://bucket/j/", "--abort", "--json"));
  expect([large.of, stranger.of]).toEqual(["resumable", "unknown"]);
  const after = await journalOf("j/");
  expect([begun(), after.allUploads()]).toEqual([[], []]);
  after.close();
});

test("ages are told by the server's clock", async () => {
  const old = await create("p/old");
  await create("p/new");
  const upload = server.uploads.get(old);
  if (upload !== undefined)
    server.uploads.set(old, { ...upload, initiated: new Date(Date.now() - 90_000_000) });
  const { code } = await uploads("s3://bucket/", "--abort", "--older-than", "1d");
  expect([code, begun()]).toEqual([0, ["p/new"]]);
});
