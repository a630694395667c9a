// Objects exchanged with Amazon's S3 Encryption Clients for Java, Go and Python through one S3 server and one KMS:
// writers x readers x formats x keys x lengths, and the objects of the clients of SDK 1.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateKeyCommand } from "@aws-sdk/client-kms";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { type EncryptS3ClientOptions, encryptS3Client } from "../../src/s3.ts";
import { S3Server } from "../support/s3-server.ts";
import { kmsClient } from "./programs.ts";
import { type Material, presentPeers, type Question, S3ecPeer } from "./s3ec-peers.ts";

const bucket = "interop";
const names = { keyNamespace: "n", keyName: "k" };
const context = { team: "alpha", job: "7" };
const MiB = 2 ** 20;
const lengths = [
  ...Array.from({ length: 26 }, (_, length) => length),
  MiB,
  5 * MiB - 1,
  5 * MiB,
  5 * MiB + 1,
  64 * MiB,
];
const data = randomBytes(64 * MiB);
const kinds = ["kms", "aes", "rsa"] as const;
const policies = { v2: "FORBID_ENCRYPT_ALLOW_DECRYPT", v3: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" } as const;

let server: S3Server;
let plain: S3Client;
let folder: string;
let keys: Readonly<Record<string, { readonly material: Material; readonly keyring: Keyring }>>;
const peers = new Map<string, S3ecPeer>();
const done = { tried: 0, failed: 0, cells: 0 };

beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  await plain.send(new CreateBucketCommand({ Bucket: bucket }));
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-interop-"));
  const { KeyMetadata } = await kmsClient.send(new CreateKeyCommand({}));
  const keyId = KeyMetadata?.Arn ?? "";
  const description = { name: "first" };
  const aes = () => {
    const wrappingKey = randomBytes(32);
    const keyring = new RawAesKeyring({ ...names, wrappingKey, materialDescription: description });
    return {
      material: { kind: "aes", key: wrappingKey.toString("base64"), description } as Material,
      keyring,
    };
  };
  const rsa = () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pkcs8 = privateKey.export({ type: "pkcs8", format: "der" }).toString("base64");
    const padding = "OAEP-SHA-1";
    const keyring = new RawRsaKeyring({
      ...names,
      privateKey,
      publicKey,
      padding,
      materialDescription: description,
    });
    return { material: { kind: "rsa", pkcs8, description } as Material, keyring };
  };
  keys = {
    kms: {
      material: { kind: "kms", keyId },
      keyring: new KmsKeyring({ client: kmsClient, generatorKeyId: keyId }),
    },
    aes: aes(),
    rsa: rsa(),
    aes2: aes(),
    rsa2: rsa(),
  };
  for (const name of presentPeers) peers.set(name, new S3ecPeer(name, server.endpoint));
});
afterAll(async () => {
  for (const peer of peers.values()) await peer[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  kmsClient.destroy();
  rmSync(folder, { recursive: true });
  const missing = ["java", "go", "python"].filter((name) => !presentPeers.has(name));
  for (const name of missing) console.log(`S3 Encryption Client for ${name}: not run`);
  console.log(
    `S3 Encryption Clients: ${done.tried - done.failed} of ${done.tried} readings right ` +
      `(${done.cells} combinations of writer, reader, format and key), ${done.failed} failures`,
  );
});

const key = (name: string) => keys[name] as { readonly material: Material; readonly keyring: Keyring };

function ours(suite: "v2" | "v3", kind: string, more: Partial<EncryptS3ClientOptions> = {}): S3Client {
  return encryptS3Client(plain, {
    keyring: key(kind).keyring,
    format: `s3ec-${suite}`,
    commitmentPolicy: policies[suite],
    partSize: 5 * MiB,
    ...(kind === "kms" ? { encryptionContext: context } : {}),
    ...more,
  });
}
const question = (suite: "v2" | "v3", kind: string, objectKey: string, file: string): Question => ({
  ...{ bucket, key: objectKey, file, suite, policy: policies[suite], material: key(kind).material },
  ...(kind === "kms" ? { context } : {}),
});
const fileOf = (name: string): string => path.join(folder, name.replaceAll("/", "_"));

async function write(
  writer: string,
  suite: "v2" | "v3",
  kind: string,
  objectKey: string,
  body: Buffer,
  instructionFile = false,
) {
  if (writer === "frameseal") {
    const client = ours(suite, kind, instructionFile ? { instructionFiles: "write" } : {});
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: objectKey, Body: body }));
    return;
  }
  const file = fileOf(`in ${writer}`);
  writeFileSync(file, body);
  await peers.get(writer)?.ask("put", { ...question(suite, kind, objectKey, file), instructionFile });
}
async function read(reader: string, suite: "v2" | "v3", kind: string, objectKey: string): Promise<Buffer> {
  if (reader === "frameseal") {
    const output = await ours(suite, kind).send(new GetObjectCommand({ Bucket: bucket, Key: objectKey }));
    return Buffer.from((await output.Body?.transformToByteArray()) ?? []);
  }
  const file = fileOf(`out ${reader}`);
  // By default the Java client holds no more than 64 MiB of ciphertext.
  const delayed = server.object(bucket, objectKey).body.length > 64 * MiB;
  await peers.get(reader)?.ask("get", { ...question(suite, kind, objectKey, file), delayed });
  return readFileSync(file);
}

/** Go and Python know KMS only; Go cannot read an empty body. */
const knows = (client: string, kind: string): boolean =>
  kind === "kms" || client === "java" || client === "frameseal";

test("all clients are there", () => {
  if (process.env.CI === "true") expect([...presentPeers].sort()).toEqual(["go", "java", "python"]);
});

describe.each(["v2", "v3"] as const)("format %s", (suite) => {
  test.each(kinds)("with %s", { timeout: 300_000 }, async (kind) => {
    const clients = ["frameseal", ...peers.keys()].filter((client) => knows(client, kind));
    const failures: string[] = [];
    for (const writer of clients)
      for (const length of lengths) {
        const objectKey = `${suite}/${kind}/${writer}/${length}`;
        const body = data.subarray(0, length);
        const readers = writer === "frameseal" ? clients : ["frameseal"];
        if (length === 0) done.cells += readers.length;
        try {
          await write(writer, suite, kind, objectKey, body);
        } catch (error) {
          failures.push(`${objectKey}: not written: ${error}`);
          continue;
        }
        for (const reader of readers) {
          done.tried += 1;
          try {
            if (!(await read(reader, suite, kind, objectKey)).equals(body)) throw new Error("other bytes");
          } catch (error) {
            done.failed += 1;
            failures.push(`${objectKey}: not read by ${reader}: ${error}`);
          }
        }
        server.buckets.get(bucket)?.clear();
      }
    expect(failures).toEqual([]);
  });

  test("a wrong encryption context is refused by all", async () => {
    const objectKey = `${suite}/context`;
    await write("frameseal", suite, "kms", objectKey, data.subarray(0, 100));
    for (const peer of peers.values()) {
      const asked = { ...question(suite, "kms", objectKey, fileOf("wrong")), context: { team: "beta" } };
      await expect(peer.ask("get", asked)).rejects.toThrow();
    }
    const client = ours(suite, "kms", { encryptionContext: { team: "beta" } });
    await expect(client.send(new GetObjectCommand({ Bucket: bucket, Key: objectKey }))).rejects.toMatchObject(
      {
        code: "CONTEXT_MISMATCH",
      },
    );
  });
});
