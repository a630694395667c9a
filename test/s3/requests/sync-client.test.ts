// s3-sync-client compares sizes and times of a folder and a bucket: through an encrypting client, nothing that is there
// is sent or fetched again, and nothing that objects need is deleted.
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand, type S3Client } from "@aws-sdk/client-s3";
import { S3SyncClient } from "s3-sync-client";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { KmsKeyring } from "../../../src/kms.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../../src/s3.ts";
import { FakeKms } from "../../support/fake-kms.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const FILES = 40;
let server: S3Server;
let kms: FakeKms;
let plain: S3Client;
let folder: string;
beforeAll(async () => {
  server = await S3Server.start();
  kms = await FakeKms.start();
  plain = server.client();
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-sync-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await kms[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const options: Record<string, () => EncryptS3ClientOptions> = {
  "a raw key": () => ({
    keyring: new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) }),
  }),
  KMS: () => ({ keyring: new KmsKeyring({ generatorKeyId: kms.createKey(), client: kms.client() }) }),
  "objects of the S3 Encryption Clients": () => ({
    keyring: new KmsKeyring({ generatorKeyId: kms.createKey(), client: kms.client() }),
    format: "s3ec-v3",
  }),
  "instruction files": () => ({
    keyring: new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) }),
    format: "s3ec-v3",
    instructionFiles: "write",
  }),
};

describe.each(Object.entries(options))("%s", (name, make) => {
  const Bucket = name.toLowerCase().replaceAll(" ", "-");
  const there = `s3://${Bucket}/backup`;

  test("a second run sends nothing, a third only what has changed; and so on the way back", async () => {
    await plain.send(new CreateBucketCommand({ Bucket }));
    const local = path.join(folder, Bucket, "local");
    mkdirSync(path.join(local, "in"), { recursive: true });
    const past = new Date(Date.now() - 3_600_000);
    const fileOf = (number: number): string =>
      path.join(local, number % 2 === 0 ? "in" : "", `${"n".repeat(number % 7)}ä ${number}`);
    for (let number = 0; number < FILES; number++) {
      writeFileSync(fileOf(number), randomBytes(number * 2_500));
      utimesSync(fileOf(number), past, past);
    }
    const settings = make();
    const perObject = settings.instructionFiles === "write" ? 2 : 1;
    // A new client for each run, as each run of a program has one.
    const sync = async (from: string, to: string) => {
      const before = server.calls.length;
      const client = encryptS3Client(plain, settings);
      const done = await new S3SyncClient({ client }).sync(from, to, { del: true });
      const calls = server.calls.slice(before);
      return {
        created: done.created.length,
        updated: done.updated.length,
        deleted: done.deleted.length,
        puts: calls.filter(({ method }) => method === "PUT").length,
      };
    };
    const counts = (created: number, updated: number, puts: number) => ({
      ...{ created, updated, deleted: 0 },
      puts: puts * perObject,
    });
    expect(await sync(local, there)).toEqual(counts(FILES, 0, FILES));
    expect(await sync(local, there)).toEqual(counts(0, 0, 0));
    writeFileSync(fileOf(3), "another size");
    utimesSync(fileOf(3), past, past);
    expect(await sync(local, there)).toEqual(counts(0, 1, 1));
    expect(await sync(local, there)).toEqual(counts(0, 0, 0));

    const back = path.join(folder, Bucket, "back");
    expect(await sync(there, back)).toEqual(counts(FILES, 0, 0));
    expect(await sync(there, back)).toEqual(counts(0, 0, 0));
    for (let number = 0; number < FILES; number++)
      expect(
        readFileSync(path.join(back, path.relative(local, fileOf(number)))).equals(
          readFileSync(fileOf(number)),
        ),
      ).toBe(true);
  });
});
