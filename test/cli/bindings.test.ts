// --bind, as a user meets it: what is found in another bucket opens only on demand.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { frameseal } from "../support/command-line.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

let folder: string;
let server: S3Server;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-cli-"));
  server = await S3Server.start();
  for (const Bucket of ["first", "restored"]) await server.client().send(new CreateBucketCommand({ Bucket }));
  for (const name of ["a.jwk", "b.jwk"]) await run("keygen", "-o", name);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
const run = (...args: readonly string[]) =>
  frameseal(args[0] === "keygen" ? args : [...args, "--endpoint", server.endpoint], { cwd: folder, env });

test("--bind bucket", async () => {
  const put = ["put", "-k", "a.jwk", "--bind"];
  expect(await run(...put, "bucket", "a.jwk", "s3://first/bound")).toMatchObject({ code: 0 });
  server.buckets.get("restored")?.set("bound", server.object("first", "bound"));
  const read = async (from: string, ...bind: string[]) =>
    (await run("verify", "-k", "a.jwk", ...bind, `s3://${from}/bound`)).code;
  expect([await read("first", "--bind", "bucket"), await read("restored")]).toEqual([0, 3]);
  expect(await read("restored", "--bind", "key")).toBe(0);
  const rewrap = ["rewrap", "--from", "a.jwk", "--to", "b.jwk"];
  expect(await run(...rewrap, "s3://first/bound")).toMatchObject({ code: 0 });
  expect(await run("verify", "-k", "b.jwk", "--bind", "bucket", "s3://first/bound")).toMatchObject({
    code: 0,
  });
  expect(await run(...put, "buckets", "a.jwk", "s3://first/bound")).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--bind buckets: expected key, bucket, prefix or none"),
  });
  expect(await run(...put, "bucket", "a.jwk", "s3://point-s3alias/x")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("access point"),
  });
});
