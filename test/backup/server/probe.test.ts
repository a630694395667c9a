// What servers of each kind are found to do, and that nothing of the finding out is left behind.
import * as sdk from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import {
  leaveOutChecksums,
  readFlags,
  type ServerFlags,
  writeFlags,
} from "../../../src/backup/server/flags.ts";
import { type ProbeContext, serverFlags } from "../../../src/backup/server/probe.ts";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client } from "../../../src/s3/encrypt-s3-client.ts";
import { type ServerKindName, serverKinds } from "../../support/s3-kinds.ts";
import { S3Server } from "../../support/s3-server.ts";

const keyring = new RawAesKeyring({
  keyNamespace: "test",
  keyName: "test",
  wrappingKey: new Uint8Array(32).fill(1),
});

interface Probed extends ProbeContext {
  readonly warnings: string[];
  readonly facts: object[];
  readonly notes: Map<string, string>;
  readonly begun: Set<string>;
}
async function contextOf(server: S3Server, signal = new AbortController().signal): Promise<Probed> {
  const plain = server.client({ maxAttempts: 1 });
  leaveOutChecksums(plain, "write");
  const [warnings, facts, notes]: [string[], object[], Map<string, string>] = [[], [], new Map()];
  const begun = new Set<string>();
  const kind = server.kind;
  server.kind = "aws";
  await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
  server.kind = kind;
  server.calls.length = 0;
  return {
    sdk,
    plain,
    client: encryptS3Client(plain, { keyring }),
    address: { bucket: "b", prefix: "p/" },
    journal: {
      note: (name) => notes.get(name),
      putNote: (name, value) => void notes.set(name, value),
      begin: (keys) => keys.forEach((key) => void begun.add(key)),
      end: (key) => void begun.delete(key),
    },
    report: { warn: (text) => warnings.push(text), fact: (_, fields) => facts.push(fields) },
    signal,
    warnings,
    facts,
    notes,
    begun,
  };
}

const all: ServerFlags = {
  conditionalPut: "yes",
  conditionalComplete: "yes",
  ifMatch: "yes",
  checksums: "yes",
  tagging: "yes",
  strongETags: "yes",
  listV2: "yes",
  listUploads: "yes",
  versioning: "no",
  objectLock: "no",
  updateEncryption: "yes",
};
const expected: Readonly<Record<ServerKindName, ServerFlags>> = {
  aws: all,
  "ceph-rgw": { ...all, conditionalComplete: "no", updateEncryption: "no" },
  "minio-like": { ...all, updateEncryption: "no" },
  "r2-like": { ...all, tagging: "no", versioning: "no", objectLock: "no", updateEncryption: "no" },
  "b2-like": {
    ...all,
    checksums: "no",
    conditionalPut: "no",
    conditionalComplete: "no",
    ifMatch: "no",
    tagging: "no",
    updateEncryption: "no",
  },
  "deaf-to-listings": { ...all, listV2: "no" },
  "gateway-like": {
    ...all,
    checksums: "no",
    conditionalPut: "no",
    conditionalComplete: "no",
    ifMatch: "no",
    tagging: "no",
    strongETags: "no",
    listV2: "no",
    listUploads: "no",
    updateEncryption: "no",
  },
};

test.each(Object.keys(serverKinds) as ServerKindName[])("%s", async (kind) => {
  await using server = await S3Server.start();
  server.kind = kind;
  const context = await contextOf(server);
  const sent: Buffer[] = [];
  server.onBody = (_, body) => void sent.push(body);
  expect(await serverFlags(context, 1)).toEqual(expected[kind]);
  expect(context.begun.size).toBe(0);
  expect(context.warnings).toEqual([]);
  expect(context.facts).toEqual([{ ...expected[kind], asked: true }]);
  expect([...(server.buckets.get("b") ?? [])]).toEqual([]);
  expect(server.uploads.size).toBe(0);
  expect(sent.some((body) => body.includes("a try of the server"))).toBe(false);
  expect(
    server.calls.filter(({ key }) => key !== "").every(({ key }) => key.startsWith("p/.frameseal/probe-")),
  ).toBe(true);
  // Afterwards clients send what the server takes.
  await context.client.send(new sdk.PutObjectCommand({ Bucket: "b", Key: "k", Body: "text" }));
  const answer = await context.client.send(new sdk.GetObjectCommand({ Bucket: "b", Key: "k" }));
  expect(await answer.Body?.transformToString()).toBe("text");
});

test("a journal remembers for some runs", async () => {
  await using server = await S3Server.start();
  const context = await contextOf(server);
  await serverFlags(context, 1);
  const asked = server.calls.length;
  expect(asked).toBeGreaterThan(10);
  expect(await serverFlags(context, 51)).toEqual(all);
  expect(server.calls.length).toBe(asked);
  expect(context.facts.at(-1)).toEqual({ ...all, asked: false });
  await serverFlags(context, 52);
  expect(server.calls.length).toBe(2 * asked);
  await serverFlags(context, 3); // another journal under this name
  expect(server.calls.length).toBe(3 * asked);
});

test("who may not write is told so, and goes on", async () => {
  await using server = await S3Server.start();
  const context = await contextOf(server);
  server.fault = ({ method }) =>
    method === "PUT" ? { kind: "error", status: 403, code: "AccessDenied" } : undefined;
  const flags = await serverFlags(context, 1);
  expect(new Set(Object.values(flags))).toEqual(new Set(["unknown"]));
  expect(context.warnings.length).toBe(1);
});

test("what may not be asked is unknown, and what cannot be removed is told", async () => {
  await using server = await S3Server.start();
  const context = await contextOf(server);
  server.fault = ({ method, query }) =>
    method === "DELETE" || query.has("tagging") || query.has("versioning")
      ? { kind: "error", status: 403, code: "AccessDenied" }
      : undefined;
  expect(await serverFlags(context, 1)).toEqual({ ...all, tagging: "unknown", versioning: "unknown" });
  expect(context.warnings.filter((text) => /could not be removed/.test(text)).length).toBe(1);
});

test("in a bucket that is not there nothing was left behind", async () => {
  await using server = await S3Server.start();
  const context = await contextOf(server);
  server.buckets.delete("b");
  await expect(serverFlags(context, 1)).rejects.toThrow("NoSuchBucket");
  expect(context.warnings).toEqual([]);
  expect([...context.begun]).toEqual([]);
});

test("a server that fails is an error, not a flag", async () => {
  await using server = await S3Server.start();
  const context = await contextOf(server);
  server.fault = () => ({ kind: "error", status: 500, code: "InternalError" });
  await expect(serverFlags(context, 1)).rejects.toThrow();
  expect(context.notes.size).toBe(0);
});

test.each([1, 2, 3, 5, 7, 9, 12])("aborted at call %i, nothing is left", async (at) => {
  await using server = await S3Server.start();
  const controller = new AbortController();
  const context = await contextOf(server, controller.signal);
  const reason = new Error("enough");
  server.delay = async () => {
    if (server.calls.length === at) controller.abort(reason);
  };
  await expect(serverFlags(context, 1)).rejects.toBe(reason);
  expect(context.notes.size).toBe(0);
  expect([...(server.buckets.get("b") ?? [])]).toEqual([]);
  expect(server.uploads.size).toBe(0);
});

test("notes of others are no flags", () => {
  for (const text of [undefined, "", "{}", "[]", "null", "1", '{"run":1}', '{"run":"1","flags":{}}'])
    expect(readFlags(text)).toBeUndefined();
  expect(readFlags(writeFlags(all, 7))).toEqual({ flags: all, run: 7 });
  expect(readFlags('{"run":1,"flags":{"tagging":"maybe","listV2":"yes"}}')?.flags).toMatchObject({
    tagging: "unknown",
    listV2: "yes",
  });
});
