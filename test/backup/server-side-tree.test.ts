// rewrap -r --sse-kms-key: another key of SSE-KMS for all objects, without moving them.
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, expect, test } from "vitest";
import { updateTreeEncryption } from "../../src/backup/server-side-tree.ts";
import { oldKey, RenewedTree, told } from "./renewed-tree.ts";

const ARN = "arn:aws:kms:us-east-1:000000000000:key/next";
let tree: RenewedTree;
beforeEach(async () => {
  tree = await RenewedTree.start();
  tree.server.kmsKeys.set(ARN, "enabled");
  await tree.put("a", "A");
  await tree.place.plain.send(
    new PutObjectCommand({
      Bucket: "b",
      Key: "p/b",
      Body: "B",
      ServerSideEncryption: "aws:kms",
      SSEKMSKeyId: ARN,
    }),
  );
});
afterEach(() => tree[Symbol.asyncDispose]());

test("every object is under the key, and as it was otherwise", async () => {
  const before = tree.server.object("b", "p/a");
  const context = tree.context();
  expect(await tree.changesOf(() => updateTreeEncryption(context, ARN))).toEqual([
    expect.stringMatching(/^PUT p\/\.frameseal\/probe-/),
    expect.stringMatching(/^PUT p\/\.frameseal\/probe-/),
    expect.stringMatching(/^DELETE p\/\.frameseal\/probe-/),
    "PUT p/a",
  ]);
  expect(told(context.report)).toEqual(["rewrap a: it was under AES256", "skip b: under this key already"]);
  expect(tree.server.object("b", "p/a")).toEqual({
    ...before,
    atRest: { algorithm: "aws:kms", kmsKeyId: ARN },
  });
  expect([...(tree.server.buckets.get("b")?.keys() ?? [])]).toEqual(["p/a", "p/b"]);
  expect(await tree.read("a", oldKey)).toBe("A");
});

test("a server that takes the request for a PutObject loses nothing", async () => {
  tree.server.kind = "ceph-rgw";
  const before = tree.server.object("b", "p/a");
  await expect(updateTreeEncryption(tree.context(), ARN)).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(/nothing was changed/),
  });
  expect(tree.server.object("b", "p/a")).toBe(before);
  expect([...(tree.server.buckets.get("b")?.keys() ?? [])]).toEqual(["p/a", "p/b"]);
});

test.each([400, 405, 501])("a server that answers HTTP %i is told once", async (status) => {
  tree.server.fault = ({ query }) =>
    query.has("encryption") ? { kind: "error", status, code: "NotImplemented" } : undefined;
  const context = tree.context();
  await expect(updateTreeEncryption(context, ARN)).rejects.toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringMatching(`HTTP ${status}`),
  });
  expect(context.report.items).toEqual([]);
  expect([...(tree.server.buckets.get("b")?.keys() ?? [])]).toEqual(["p/a", "p/b"]);
});

test("an object that cannot be changed fails alone", async () => {
  tree.server.fault = ({ query, key }) =>
    query.has("encryption") && key === "p/a"
      ? { kind: "error", status: 403, code: "AccessDenied" }
      : undefined;
  const context = tree.context();
  await updateTreeEncryption(context, ARN);
  expect(told(context.report)).toEqual(["failed a: AccessDenied", "skip b: under this key already"]);
});

test("a dry run tries nothing", async () => {
  const context = tree.context({ dryRun: true });
  expect(await tree.changesOf(() => updateTreeEncryption(context, ARN))).toEqual([]);
  expect(told(context.report)).toEqual(["rewrap a: it was under AES256", "skip b: under this key already"]);
});

test("an SDK without the request is told", async () => {
  const { UpdateObjectEncryptionCommand: _, ...sdk } = tree.place.sdk;
  await expect(updateTreeEncryption({ ...tree.context(), sdk: sdk as never }, ARN)).rejects.toMatchObject({
    code: "UNSUPPORTED",
  });
});
