// What killed runs left in the bucket is aborted by the next one, and nothing else is.
import { copyFileSync, existsSync } from "node:fs";
import * as sdk from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Journal } from "../../../src/backup/journal/journal.ts";
import { abortLeftovers } from "../../../src/backup/journal/leftovers.ts";
import { openJournal } from "../../../src/backup/journal/open-journal.ts";
import type { TransferQueue } from "../../../src/backup/transfer/queue.ts";
import { S3Server } from "../../support/s3-server.ts";
import { identity, newPlace, uploadRow } from "./rows.ts";

let server: S3Server;
let plain: sdk.S3Client;
let journal: Journal;
let warnings: string[] = [];
const bucket = "bucket";

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  server.uploads.clear();
  server.fault = () => undefined;
  warnings = [];
  journal = await openJournal({ file: newPlace(), identity });
  return () => journal.close();
});

const { signal } = new AbortController();
const queue: TransferQueue = {
  run: (_, job) => job(signal),
  ready: async () => {},
  idle: async () => {},
};
const report = {
  total: () => {},
  moved: () => {},
  item: () => {},
  fact: () => {},
  warn: (text: string) => void warnings.push(text),
};

async function create(key: string): Promise<string> {
  const { UploadId = "" } = await plain.send(
    new sdk.CreateMultipartUploadCommand({ Bucket: bucket, Key: key }),
  );
  return UploadId;
}
const begun = (): string[] => [...server.uploads.values()].map(({ key }) => key).sort();
const tidy = (keep = false, dryRun = false, prefix = "p/") =>
  abortLeftovers({ sdk, plain, address: { bucket, prefix }, queue, report, journal, dryRun }, () => keep);

describe("leftovers", () => {
  test("uploads of the journal are kept or aborted, as their source says", async () => {
    const uploadId = await create("p/large");
    journal.beginUpload(uploadRow("p/large", uploadId));
    journal.putPart(uploadId, { number: 1, eTag: '"1"', sha256: "" });
    expect(await tidy(true)).toEqual({ aborted: 0, kept: 1 });
    expect(begun()).toEqual(["p/large"]);
    expect(await tidy(false, true)).toEqual({ aborted: 1, kept: 0 });
    expect([begun(), journal.allUploads().length]).toEqual([["p/large"], 1]);
    expect(await tidy(false)).toEqual({ aborted: 1, kept: 0 });
    expect([begun(), journal.allUploads(), journal.parts(uploadId)]).toEqual([[], [], []]);
    journal.beginUpload(uploadRow("p/large", uploadId)); // gone from the bucket meanwhile
    expect(await tidy()).toEqual({ aborted: 1, kept: 0 });
    expect(journal.allUploads()).toEqual([]);
  });

  test("what a copy of the journal knows is not gone on with", async () => {
    await tidy();
    const uploadId = await create("p/large");
    journal.beginUpload(uploadRow("p/large", uploadId));
    expect(await tidy(true)).toEqual({ aborted: 0, kept: 1 });
    const { file } = journal;
    journal.close();
    const copy = newPlace();
    for (const suffix of ["", "-wal"])
      if (existsSync(file + suffix)) copyFileSync(file + suffix, copy + suffix);
    journal = await openJournal({ file: copy, identity });
    expect(await tidy(true, true)).toEqual({ aborted: 1, kept: 0 });
    expect(await tidy(true)).toEqual({ aborted: 1, kept: 0 });
    expect([begun(), journal.allUploads()]).toEqual([[], []]);
    expect(warnings).toContain("the journal is a copy: the uploads that it knows are begun anew");
    journal.beginUpload(uploadRow("p/large", await create("p/large")));
    expect(await tidy(true)).toEqual({ aborted: 0, kept: 1 }); // its own
  });

  test("an upload whose id nobody came to know is aborted, those of other keys and of others are not", async () => {
    const foreign = await create("p/key");
    await tidy(); // a run begins: what is there is not its own
    journal.begin(["p/key", "p/ended"]);
    journal.end("p/ended");
    for (const key of ["p/key", "p/key", "p/key2", "p/key/below", "p/ended", "p/never", "q/key"])
      await create(key);
    const kept = await create("p/key");
    journal.beginUpload(uploadRow("p/key", kept));
    expect(await tidy(true)).toEqual({ aborted: 2, kept: 1 });
    expect(begun()).toEqual(["p/ended", "p/key", "p/key", "p/key/below", "p/key2", "p/never", "q/key"]);
    expect(server.uploads.has(foreign) && server.uploads.has(kept)).toBe(true);
    expect(journal.unended()).toEqual([]);
    journal.begin(["p/key2"]);
    await tidy(true);
    expect(begun()).toContain("p/key2"); // it was there before the run that says it began one
  });

  test("what a probe of the server left is removed, and nothing else of the reserved folder", async () => {
    const [probe, other] = ["p/.frameseal/probe-1", "p/.frameseal/runs/00000001"];
    await tidy();
    journal.begin([probe, other]);
    for (const Key of [probe, other, "p/.frameseal/probe-2"])
      await plain.send(new sdk.PutObjectCommand({ Bucket: bucket, Key, Body: "x" }));
    await create(probe);
    expect(await tidy()).toEqual({ aborted: 1, kept: 0 });
    expect([...(server.buckets.get(bucket)?.keys() ?? [])].sort()).toEqual(["p/.frameseal/probe-2", other]);
    expect(journal.unended()).toEqual([]);
  });

  test("names that XML or an address cannot carry are found", async () => {
    const odd = ["p/a b+c%20", "p/\u0001", "p/<&>'\"", "p/😀é"];
    await tidy();
    journal.begin(odd);
    for (const key of odd) await create(key);
    expect(await tidy()).toEqual({ aborted: odd.length, kept: 0 });
    expect(begun()).toEqual([]);
  });

  test("more uploads than a page holds are all found", async () => {
    await tidy();
    journal.begin(["p/many"]);
    const upload = await template();
    for (let index = 0; index < 2300; index++)
      server.uploads.set(`id-${index}`, {
        ...upload,
        key: index % 100 === 0 ? `p/many${index}` : "p/many",
      });
    journal.addForeignUploads(Array.from({ length: 2200 }, (_, index) => `id-${index}`));
    expect(await tidy()).toEqual({ aborted: 99, kept: 0 });
    expect(server.uploads.size).toBe(2201);
  });

  test.each([403, 501])(
    "a server that answers %i to listings is told of, and begun keys stay begun",
    async (status) => {
      journal.begin(["p/key"]);
      await create("p/key");
      server.fault = ({ method, query }) =>
        method === "GET" && query.has("uploads")
          ? { kind: "error", status, code: "AccessDenied" }
          : undefined;
      expect(await tidy()).toEqual({ aborted: 0, kept: 0 });
      expect(warnings.join()).toContain("cannot be listed");
      expect(journal.unended()).toEqual(["p/key"]);
      server.fault = () => undefined;
      expect(await tidy()).toEqual({ aborted: 1, kept: 0 });
    },
  );

  test("who may not abort is told so, goes on, and is told again", async () => {
    await tidy();
    journal.begin(["p/key"]);
    await create("p/key");
    journal.beginUpload(uploadRow("p/large", await create("p/large")));
    server.fault = ({ method }) =>
      method === "DELETE" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
    expect(await tidy()).toEqual({ aborted: 0, kept: 0 });
    expect(warnings.filter((text) => text.includes("cannot be aborted")).length).toBe(2);
    expect(warnings.join()).not.toMatch(/is aborted|cannot be listed/);
    expect([journal.unended(), journal.allUploads().length]).toEqual([["p/key"], 1]);
    server.fault = () => undefined;
    expect(await tidy()).toEqual({ aborted: 2, kept: 0 });
    expect(begun()).toEqual([]);
  });
});

async function template() {
  const id = await create("p/template");
  const upload = server.uploads.get(id);
  server.uploads.delete(id);
  if (upload === undefined) throw new Error("no upload");
  return upload;
}
