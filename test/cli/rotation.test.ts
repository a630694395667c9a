// A tree with hidden names whose master key changes: what was stored stays what it was, and is not sent again.
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { S3Server } from "../support/s3-server.ts";
import { TreeRuns } from "../support/tree-runs.ts";

let server: S3Server;
let runs: TreeRuns;
beforeAll(async () => {
  server = await S3Server.start();
  runs = new TreeRuns(server);
});
afterAll(async () => {
  runs[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

test("after rewrap -r the next put -r sends nothing, and all is read with the new key, under the old names", async () => {
  const run = runs.next();
  writeFileSync(path.join(run.folder, "tree/large.bin"), "not so large");
  const line = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run.run(args);
    expect({ code, stderr }, args.join(" ")).toEqual({ code: 0, stderr: expect.anything() });
  };
  const keys = (): string[] => [...(server.buckets.get(run.bucket)?.keys() ?? [])];
  const sent = (): string[] =>
    server.calls
      .filter(({ method, key }) => method === "PUT" && !key.includes(".frameseal/"))
      .map(({ key }) => key);
  const hidden = ["--encrypt-names", "tree"];
  await line("put", "-r", "-k", "a.jwk", ...hidden, "tree", run.address);
  const before = keys();
  expect(before.join()).not.toMatch(/large|sub|deep|a\.txt/);
  await line("rewrap", "-r", "--from", "a.jwk", "--to", "b.jwk", "--enforce-rotation", run.address);
  expect(keys()).toEqual(before);
  const count = sent().length;
  const changed = ["-k", "b.jwk", ...hidden, "--names-key", "a.jwk"];
  await line("put", "-r", ...changed, "tree", run.address);
  expect(sent().slice(count)).toEqual([]);
  await line("get", "-r", ...changed, run.address, "out");
  expect(run.files("out")).toEqual(run.files("tree"));
  await line("verify", "-r", ...changed, "--manifest", "latest", run.address);
});
