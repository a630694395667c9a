// States of uploads that a store keeps: one ledger for an upload however it is loaded, and no part leaves before its
// state is kept.
import { randomBytes } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client, importMultipartUpload, type MultipartState } from "../../../src/s3.ts";
import { readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

const target = { Bucket: "bucket", Key: "object" };
const P = 5 * 2 ** 20;
const data = randomBytes(2 * P + 5);
const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
let server: S3Server;
let plain: S3Client;
/** What the store holds, as text, and what its next calls do first. */
const kept = new Map<string, string>();
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
let onSave: () => Promise<unknown> = pause;

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket: target.Bucket }));
});
beforeEach(() => {
  kept.clear();
  server.uploads.clear();
  onSave = pause;
});
afterAll(() => server[Symbol.asyncDispose]());

const multipartStates = {
  async load(uploadId: string): Promise<MultipartState | undefined> {
    await pause();
    const text = kept.get(uploadId);
    return text === undefined ? undefined : JSON.parse(text);
  },
  async compareAndSwap(
    uploadId: string,
    state: MultipartState,
    expected: number | undefined,
  ): Promise<boolean> {
    const text = JSON.stringify(state); // as it is now, though it may be kept later
    await onSave();
    const known = kept.get(uploadId);
    if ((known === undefined ? undefined : JSON.parse(known).revision) !== expected) return false;
    kept.set(uploadId, text);
    return true;
  },
  async remove(uploadId: string): Promise<void> {
    kept.delete(uploadId);
  },
};
const clientOf = (): S3Client => encryptS3Client(plain, { keyring, partSize: P, multipartStates });
const outcome = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "accepted",
    (error) => error.code ?? error.message,
  );
async function create(client: S3Client): Promise<string> {
  return (await client.send(new CreateMultipartUploadCommand(target))).UploadId ?? "";
}
async function part(client: S3Client, UploadId: string, PartNumber: number, from = data) {
  const Body = from.subarray((PartNumber - 1) * P, PartNumber * P);
  const { ETag } = await client.send(new UploadPartCommand({ ...target, UploadId, PartNumber, Body }));
  return { PartNumber, ETag };
}

test("requests that load one state at the same time share one ledger", async () => {
  const uploadId = await create(clientOf());
  const second = clientOf();
  const tried = [data, randomBytes(data.length), randomBytes(data.length)];
  const outcomes = await Promise.all(tried.map((bytes) => outcome(part(second, uploadId, 2, bytes))));
  expect(outcomes.sort()).toEqual(["POLICY", "POLICY", "accepted"]);
});

test("an upload goes on in another process, and its state tells no key", async () => {
  const uploadId = await create(clientOf());
  const last = await part(clientOf(), uploadId, 3);
  const third = clientOf();
  const all = [await part(third, uploadId, 1), await part(third, uploadId, 2), last];
  const text = kept.get(uploadId) ?? "";
  expect(JSON.parse(text).ledger.parts.length).toBe(3);
  for (const form of ["hex", "base64", "base64url", "latin1"] as const)
    expect(text.includes(wrappingKey.toString(form))).toBe(false);
  const MultipartUpload = { Parts: all };
  await clientOf().send(
    new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId, MultipartUpload }),
  );
  expect((await readObject(clientOf(), target)).equals(data)).toBe(true);
  expect(kept.size).toBe(0);
});

test("a part leaves when its state is kept, not before", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  onSave = () => Promise.reject(new Error("disk is full"));
  const sent = () => server.calls.filter(({ query }) => query.get("uploadId") === uploadId).length;
  for (const _ of [1, 2]) expect(await outcome(part(client, uploadId, 1))).toBe("disk is full");
  expect(sent()).toBe(0);
  onSave = pause;
  await part(client, uploadId, 1);
  expect(JSON.parse(kept.get(uploadId) ?? "").ledger.parts.length).toBe(1);
});

test("states are kept in the order of their making", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  let saves = 0;
  // The first would end last.
  onSave = () => new Promise((resolve) => setTimeout(resolve, saves++ === 0 ? 60 : 1));
  await Promise.all([part(client, uploadId, 1), part(client, uploadId, 2)]);
  expect(JSON.parse(kept.get(uploadId) ?? "").ledger.parts.length).toBe(2);
});

test("a state that cannot be kept at the start leaves no upload behind", async () => {
  onSave = () => Promise.reject(new Error("disk is full"));
  expect(await outcome(create(clientOf()))).toBe("disk is full");
  expect(server.uploads.size).toBe(0);
});

test("an older state does not replace an upload that goes on", async () => {
  const client = clientOf();
  const uploadId = await create(client);
  const old = JSON.parse(kept.get(uploadId) ?? "") as MultipartState;
  await part(client, uploadId, 1);
  await expect(importMultipartUpload(client, old)).rejects.toMatchObject({ code: "POLICY" });
  await expect(importMultipartUpload(clientOf(), old)).rejects.toMatchObject({ code: "POLICY" }); // part 1 is in S3
  expect(await outcome(part(client, uploadId, 1, randomBytes(data.length)))).toBe("POLICY");
});
