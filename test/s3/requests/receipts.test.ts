// The login page of a network, or a proxy that answers 200 to everything: nothing was stored, and nobody is told so.
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  CreateMultipartUploadCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client } from "../../../src/s3.ts";

const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const object = { Bucket: "bucket", Key: "key" };

let server: Server;
let client: S3Client;
let page = "";
beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume().on("end", () => {
      response.writeHead(200, { "content-type": "text/html" });
      response.end(request.method === "HEAD" ? undefined : page);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  client = new S3Client({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "a", secretAccessKey: "s" },
    maxAttempts: 1,
  });
});
afterAll(() => {
  client.destroy();
  server.closeAllConnections();
  server.close();
});

describe.each(["<html><body>sign in</body></html>", "", "ok"])("answered with %o", (text) => {
  test.each(["framed", "s3ec-v3"] as const)("%s: no write succeeds", async (format) => {
    page = text;
    const encrypting = encryptS3Client(client, { keyring, format, partSize: 5 * 2 ** 20 });
    for (const length of [0, 10])
      await expect(
        encrypting.send(new PutObjectCommand({ ...object, Body: Buffer.alloc(length) })),
      ).rejects.toMatchObject({ code: "NETWORK" });
    const Body = Buffer.alloc(6 * 2 ** 20);
    await expect(encrypting.send(new PutObjectCommand({ ...object, Body }))).rejects.toThrow();
    // Where the SDK finds no XML, it says so.
    await expect(encrypting.send(new CreateMultipartUploadCommand(object))).rejects.toThrow();
  });
});

test("nor does a part that the server took for something else", async () => {
  page =
    '<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>';
  const encrypting = encryptS3Client(client, { keyring });
  const { UploadId } = await encrypting.send(new CreateMultipartUploadCommand(object));
  const part = { ...object, UploadId, PartNumber: 1, Body: Buffer.alloc(5 * 2 ** 20) };
  await expect(encrypting.send(new UploadPartCommand(part))).rejects.toMatchObject({ code: "NETWORK" });
});
