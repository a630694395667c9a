// A tree goes into a bucket: what is new or changed is sent, what is not is left, and what fails keeps nothing else from
// being stored.
import { createHash } from "node:crypto";
import { rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import * as sdk from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BUCKET, clientsOf, put, TemporaryTree } from "../support/put-run.ts";
import { S3Server } from "../support/s3-server.ts";

let server: S3Server;
let tree: TemporaryTree;
beforeEach(async () => {
  server = await S3Server.start();
  await server.client().send(new sdk.CreateBucketCommand({ Bucket: BUCKET }));
  tree = new TemporaryTree({ a: "alpha", "d/b.txt": "beta", "d/ü \u{1f600}": "", "empty/": "" });
  tree.link("d/link", "b.txt");
  await settled();
});
afterEach(async () => {
  tree[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

// Changes of the tree are older than the steps in which file systems count.
async function settled(): Promise<void> {
  const newest = statSync(tree.root).ctimeMs + 2100;
  for (let left = newest - Date.now(); left > 0; left = newest - Date.now())
    await new Promise((resolve) => setTimeout(resolve, left));
}
const keys = () => [...(server.buckets.get(BUCKET)?.keys() ?? [])].sort();
const objects = () => keys().filter((key) => !key.includes(".frameseal/"));
const methods = (from = 0) => server.calls.slice(from).map(({ method, key }) => `${method} ${key}`);
async function read(key: string): Promise<string> {
  const { client } = clientsOf(server, undefined);
  const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: BUCKET, Key: key }));
  return (await Body?.transformToString()) ?? "";
}

describe("a first run", () => {
  test("stores files, links and empty folders, and a manifest", async () => {
    const { report, result } = await put(server, tree.root, { journal: tree.journal, links: "keep" });
    expect(report.told).toEqual([
      "put a new",
      "put d/b.txt new",
      "put d/link new",
      "put d/ü \u{1f600} new",
      "put empty new",
    ]);
    expect(keys()).toEqual([
      "p/.frameseal/runs/00000001",
      "p/a",
      "p/d/b.txt",
      "p/d/link",
      "p/d/ü \u{1f600}",
      "p/empty/",
    ]);
    expect(await read("p/a")).toBe("alpha");
    expect(await read("p/d/ü \u{1f600}")).toBe("");
    expect(result).toMatchObject({ sent: 5, sentBytes: 14, unchanged: 0, failed: 0, manifest: { run: 1 } });
  });
});
