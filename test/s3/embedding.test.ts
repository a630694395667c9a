// Programs that take an S3Client take an encrypting one: each stores through it what only it can read.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, S3, type S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { S3Store } from "@tus/s3-store";
import { Server as TusServer } from "@tus/server";
import { Disk } from "flydrive";
import { S3Driver } from "flydrive/drivers/s3";
import { S3SyncClient } from "s3-sync-client";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

// Neither has types.
type Handler = (request: IncomingMessage, response: ServerResponse, done: (error?: unknown) => void) => void;
type NameFile = (
  request: unknown,
  file: { originalname: string },
  done: (error: unknown, key: string) => void,
) => void;
const require = createRequire(import.meta.url);
const multer = require("multer") as (options: object) => { single(field: string): Handler };
const multerS3 = require("multer-s3") as (options: { s3: S3Client; bucket: string; key: NameFile }) => object;

const Bucket = "bucket";
const MiB = 2 ** 20;
const data = randomBytes(11 * MiB + 5);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: S3Client;
let client: S3Client;

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket }));
  client = encryptS3Client(plain, { keyring, partSize: 5 * MiB });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** What `key` holds: encrypted in the bucket, and `expected` through the client. */
async function expectStored(key: string, expected: Buffer): Promise<void> {
  const stored = server.object(Bucket, key);
  expect(stored.headers).toMatchObject({ "x-amz-meta-frameseal-format": "framed" });
  expect(stored.body.includes(expected.subarray(0, 32))).toBe(false);
  expect((await readObject(client, { Bucket, Key: key })).equals(expected)).toBe(true);
}

/** Runs an HTTP handler while `use` talks to it. */
async function serving(
  handler: (request: IncomingMessage, response: ServerResponse) => unknown,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const http = createServer((request, response) => void handler(request, response));
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  try {
    await use(`http://127.0.0.1:${(http.address() as AddressInfo).port}`);
  } finally {
    http.closeAllConnections();
    await new Promise((resolve) => http.close(resolve));
  }
}

test("lib-storage", async () => {
  await new Upload({ client, partSize: 5 * MiB, params: { Bucket, Key: "lib-storage", Body: data } }).done();
  await expectStored("lib-storage", data);
});

test("multer-s3", async () => {
  const storage = multerS3({
    s3: client,
    bucket: Bucket,
    key: (_request, file, done) => done(null, `multer/${file.originalname}`),
  });
  const receive = multer({ storage }).single("file");
  const handler = (request: IncomingMessage, response: ServerResponse): void =>
    receive(request, response, (error: unknown) =>
      response.writeHead(error === undefined ? 200 : 500).end(String(error)),
    );
  await serving(handler, async (url) => {
    const form = new FormData();
    form.set("file", new Blob([data]), "upload.bin");
    expect((await fetch(url, { method: "POST", body: form })).status).toBe(200);
  });
  await expectStored("multer/upload.bin", data);
});

test("@tus/s3-store", async () => {
  const datastore = new S3Store({
    partSize: 5 * MiB,
    s3ClientConfig: { bucket: Bucket, region: "us-east-1" },
  });
  const credentials = { accessKeyId: "a", secretAccessKey: "b" };
  const methods = new S3({
    endpoint: server.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials,
  });
  Object.assign(datastore, { client: encryptS3Client(methods, { keyring, partSize: 5 * MiB }) });
  const tus = new TusServer({ path: "/files", datastore });
  let key = "";
  await serving(
    (request, response) => tus.handle(request, response),
    async (url) => {
      const version = { "tus-resumable": "1.0.0" };
      const created = await fetch(`${url}/files`, {
        method: "POST",
        headers: { ...version, "upload-length": String(data.length) },
      });
      expect(created.status, await created.text()).toBe(201);
      const location = created.headers.get("location") ?? "";
      key = location.slice(location.lastIndexOf("/") + 1);
      // In three requests, as a client would that lost its connection twice.
      for (let at = 0; at < data.length; at += 4 * MiB) {
        const headers = {
          ...version,
          "upload-offset": String(at),
          "content-type": "application/offset+octet-stream",
        };
        const reply = await fetch(`${url}/files/${key}`, {
          method: "PATCH",
          headers,
          body: data.subarray(at, at + 4 * MiB),
        });
        expect(reply.status, await reply.text()).toBe(204);
      }
    },
  );
  await expectStored(key, data);
});

test("flydrive", async () => {
  const disk = new Disk(
    new S3Driver({ client, bucket: Bucket, visibility: "private", supportsACL: false } as never),
  );
  await disk.put("flydrive/file", data);
  await expectStored("flydrive/file", data);
  expect(Buffer.from(await disk.getBytes("flydrive/file")).equals(data)).toBe(true);
  expect((await disk.getMetaData("flydrive/file")).contentLength).toBe(data.length);
});

test("s3-sync-client", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-sync-"));
  try {
    writeFileSync(path.join(folder, "one"), data);
    writeFileSync(path.join(folder, "two"), data.subarray(0, 10));
    const sync = new S3SyncClient({ client });
    await sync.sync(folder, `s3://${Bucket}/sync`);
    await expectStored("sync/one", data);
    const back = path.join(folder, "back");
    await sync.sync(`s3://${Bucket}/sync`, back);
    expect(readFileSync(path.join(back, "one")).equals(data)).toBe(true);
    expect(readFileSync(path.join(back, "two")).equals(data.subarray(0, 10))).toBe(true);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
