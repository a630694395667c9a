// Processes that share an upload through files and are killed at any moment: no nonce is used twice, and the upload is
// finished by another one.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { encryptS3Client, fileMultipartStates } from "../../../src/s3.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { S3Server } from "../../support/s3-server.ts";

const program = fileURLToPath(new URL("../../support/upload-process.mjs", import.meta.url));
const Bucket = "bucket";
const partSize = 5 * 2 ** 20;
const partCount = 4;
const variants = 3;
const ROUNDS = 3;
const wrappingKey = randomBytes(32);
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-processes-"));
let server: S3Server;
/** Upload and part -> the bytes that came first. */
const seen = new Map<string, Buffer>();
let sent = 0;
const repeats: string[] = [];

beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  server.onBody = ({ query }, body) => {
    if (!query.has("partNumber")) return;
    sent += 1;
    const place = `${query.get("uploadId")} ${query.get("partNumber")}`;
    const known = seen.get(place) ?? body;
    seen.set(place, known);
    // A last part may have come without the tag that is sent behind it later.
    const common = Math.min(known.length, body.length);
    if (!known.subarray(0, common).equals(body.subarray(0, common))) repeats.push(place);
  };
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
  console.log(`processes: ${sent} parts came, ${seen.size} places, ${repeats.length} repeats`);
});

function start(options: object): { child: ChildProcess; accepted: Promise<void>; text: () => string } {
  const child = spawn(process.execPath, [program, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  child.stderr?.on("data", (chunk) => {
    text += chunk;
  });
  const accepted = Promise.race([once(child.stdout as NodeJS.ReadableStream, "data"), once(child, "exit")]);
  return { child, accepted: accepted.then(() => {}), text: () => text };
}

test.each(["framed", "s3ec-v3"] as const)("%s", { timeout: 120_000 }, async (format) => {
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey });
  const plain = server.client();
  const make = () =>
    encryptS3Client(plain, { keyring, format, partSize, multipartStates: fileMultipartStates(folder) });
  const Key = format;
  const { UploadId } = await make().send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const target = { Bucket, Key, UploadId };
  const endpoint = server.endpoint;
  const options = {
    endpoint,
    folder,
    format,
    wrappingKey: wrappingKey.toString("hex"),
    target,
    partSize,
    partCount,
    variants,
  };
  for (let round = 0; round < ROUNDS; round++) {
    const processes = [start(options), start(options)];
    await Promise.all(processes.map(({ accepted }) => accepted));
    for (const { child, text } of processes) {
      await setTimeout(Math.random() * 120);
      expect(child.exitCode, text()).toBe(null);
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  }
  const last = make();
  const contents: Buffer[] = [];
  const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
  for (let PartNumber = 1; PartNumber <= partCount; PartNumber++)
    for (let variant = 0; contents.length < PartNumber; variant++) {
      const Body = Buffer.alloc(partSize, PartNumber * variants + variant);
      const sending = last.send(new UploadPartCommand({ ...target, PartNumber, Body }));
      if ((await outcomeOf(sending)) !== "accepted") continue;
      contents.push(Body);
      Parts.push({ PartNumber, ETag: (await sending).ETag });
    }
  await make().send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload: { Parts } }));
  expect((await readObject(make(), { Bucket, Key })).equals(Buffer.concat(contents))).toBe(true);
  expect(repeats).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});
