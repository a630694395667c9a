// Objects exchanged with Amazon's S3 Encryption Clients for Java, Go and Python through one S3 server and one KMS:
// writers x readers x formats x keys x lengths, and the objects of the clients of SDK 1.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateKeyCommand, DecryptCommand } from "@aws-sdk/client-kms";
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../src/s3.ts";
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
  const out = process.env.FRAMESEAL_WRITE_VECTORS;
  if (out !== undefined) writeFileSync(out, `${JSON.stringify(vectors, null, 2)}\n`);
  rmSync(folder, { recursive: true });
  const missing = ["java", "go", "python"].filter((name) => !presentPeers.has(name));
  for (const name of missing) console.log(`S3 Encryption Client for ${name}: not run`);
  console.log(
    `S3 Encryption Clients: ${done.tried - done.failed} of ${done.tried} readings right ` +
      `(${done.cells} combinations of writer, reader, format and key), ${done.failed} failures`,
  );
});

/** Objects as each client writes them, for test/vectors/s3ec-objects.json when FRAMESEAL_WRITE_VECTORS names it. */
const vectors: object[] = [];
async function record(name: string, kind: string, objectKey: string, plaintext: Buffer): Promise<void> {
  const stored = server.object(bucket, objectKey);
  const metadata = Object.fromEntries(
    Object.entries(stored.headers)
      .filter(([header]) => header.startsWith("x-amz-meta-"))
      .map(([header, value]) => [header.slice("x-amz-meta-".length), value]),
  );
  const file = server.buckets.get(bucket)?.get(`${objectKey}.instruction`)?.body.toString();
  const entries: Readonly<Record<string, string>> = {
    ...metadata,
    ...(file === undefined ? {} : JSON.parse(file)),
  };
  const { material } = key(kind);
  let keyOf: Record<string, string>;
  if (material.kind === "aes") keyOf = { aesKey: material.key };
  else if (material.kind === "rsa") keyOf = { rsaPrivateKey: material.pkcs8 };
  else {
    const { Plaintext } = await kmsClient.send(
      new DecryptCommand({
        CiphertextBlob: Buffer.from(entries["x-amz-3"] ?? entries["x-amz-key-v2"] ?? "", "base64"),
        EncryptionContext: JSON.parse(entries["x-amz-t"] ?? entries["x-amz-matdesc"] ?? "{}") as Record<
          string,
          string
        >,
      }),
    );
    keyOf = { kmsDataKey: Buffer.from(Plaintext ?? []).toString("base64") };
  }
  vectors.push({
    name,
    ...keyOf,
    metadata,
    ...(file === undefined ? {} : { instructionFile: file }),
    body: stored.body.toString("base64"),
    plaintext: plaintext.toString("base64"),
  });
}

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
        if (length === 0 || length === 17)
          await record(`${writer}, ${suite}, ${kind}, ${length} bytes`, kind, objectKey, body);
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

describe.runIf(presentPeers.has("java"))("what only Java and this package do", () => {
  const java = (): S3ecPeer => peers.get("java") as S3ecPeer;
  const body = data.subarray(0, 70_001);

  test.each((["v2", "v3"] as const).flatMap((suite) => kinds.map((kind) => [suite, kind] as const)))(
    "instruction files of %s with %s",
    async (suite, kind) => {
      for (const [writer, reader] of [
        ["frameseal", "java"],
        ["java", "frameseal"],
        ["frameseal", "frameseal"],
      ] as const) {
        const objectKey = `file/${suite}/${kind}/${writer}`;
        await write(writer, suite, kind, objectKey, body, true);
        expect(server.object(bucket, `${objectKey}.instruction`).headers).toHaveProperty(
          "x-amz-meta-x-amz-crypto-instr-file",
          "",
        );
        expect((await read(reader, suite, kind, objectKey)).equals(body)).toBe(true);
        const short = data.subarray(0, 17);
        await write(writer, suite, kind, objectKey, short, true);
        if (reader !== writer)
          await record(`${writer}, ${suite}, ${kind}, instruction file, 17 bytes`, kind, objectKey, short);
      }
    },
  );

  test.each([
    ["v2", "aes", "aes2"],
    ["v3", "aes", "rsa"],
    ["v2", "rsa", "rsa2"],
    ["v3", "rsa", "aes"],
  ] as const)("keys changed in instruction files of %s from %s to %s", async (suite, from, to) => {
    const objectKey = `rewrap/${suite}/${from}`;
    await write("frameseal", suite, from, objectKey, body, true);
    const location = { bucket, key: objectKey };
    const commitmentPolicy = policies[suite];
    await rewrapObject(plain, location, { from: key(from).keyring, to: key(to).keyring, commitmentPolicy });
    expect((await read("java", suite, to, objectKey)).equals(body)).toBe(true);
    await expect(read("java", suite, from, objectKey)).rejects.toThrow();
    // Back again, by Java: it wants another description of the new key.
    const newMaterial = { ...key(from).material, description: { name: "second" } };
    await java().ask("reEncrypt", {
      ...question(suite, to, objectKey, ""),
      instructionFile: true,
      newMaterial,
    });
    expect((await read("frameseal", suite, from, objectKey)).equals(body)).toBe(true);
    await expect(read("frameseal", suite, to, objectKey)).rejects.toMatchObject({
      code: expect.stringMatching(/^(AUTHENTICATION_FAILED|NO_DATA_KEY)$/),
    });
  });

  test.each(["v2", "v3"] as const)("keys changed in the metadata of %s, then read by Java", async (suite) => {
    const objectKey = `rewrap/metadata/${suite}`;
    await write("java", suite, "aes", objectKey, body);
    const location = { bucket, key: objectKey };
    const commitmentPolicy = policies[suite];
    const keyrings = { from: key("aes").keyring, to: key("rsa").keyring };
    await rewrapObject(plain, location, { ...keyrings, commitmentPolicy, enforceRotation: true });
    expect((await read("java", suite, "rsa", objectKey)).equals(body)).toBe(true);
  });

  test.each(["v2", "v3"] as const)("ranges of %s are those that Java reads", async (suite) => {
    const objectKey = `ranges/${suite}`;
    await write("frameseal", suite, "aes", objectKey, body);
    const client = ours(suite, "aes", { enableLegacyUnauthenticatedModes: true });
    for (const [first, last] of [
      [0, 9],
      [10, 99],
      [16, 31],
      [69_990, 70_000],
      [69_990, 80_000],
      [0, 70_000],
    ] as const) {
      const range = `bytes=${first}-${last}`;
      const file = fileOf("range");
      await java().ask("get", { ...question(suite, "aes", objectKey, file), legacy: true, range });
      const output = await client.send(
        new GetObjectCommand({ Bucket: bucket, Key: objectKey, Range: range }),
      );
      const bytes = Buffer.from((await output.Body?.transformToByteArray()) ?? []);
      expect(bytes.equals(body.subarray(first, last + 1)), range).toBe(true);
      expect(bytes.equals(readFileSync(file)), range).toBe(true);
    }
  });

  // mode, generation of the client, key -> the wrap and content algorithm it writes
  const old = [
    ["EncryptionOnly", 1, "aes", "s3ec-v1"],
    ["EncryptionOnly", 1, "rsa", "s3ec-v1"],
    ["EncryptionOnly", 1, "kms", "kms, AES/CBC"],
    ["AuthenticatedEncryption", 1, "aes", "AESWrap"],
    ["AuthenticatedEncryption", 1, "rsa", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"],
    ["AuthenticatedEncryption", 1, "kms", "kms, AES/GCM"],
    ["StrictAuthenticatedEncryption", 2, "aes", "AES/GCM"],
    ["StrictAuthenticatedEncryption", 2, "rsa", "RSA-OAEP-SHA1"],
    ["StrictAuthenticatedEncryption", 2, "kms", "kms+context"],
  ] as const;
  test.each(old.flatMap((row) => [[...row, false] as const, [...row, true] as const]))(
    "objects of SDK 1: %s, generation %i, %s (%s), instruction file: %s",
    async (mode, generation, kind, what, instructionFile) => {
      for (const length of [0, 1, 15, 16, 17, 5000]) {
        const objectKey = `sdk1/${mode}/${kind}/${instructionFile}/${length}`;
        const plaintext = data.subarray(0, length);
        const file = fileOf("sdk1");
        writeFileSync(file, plaintext);
        const { material } = key(kind);
        await java().ask("legacyPut", {
          bucket,
          key: objectKey,
          file,
          material,
          mode,
          generation,
          instructionFile,
        });
        if (length === 0 || length === 17) {
          const place = instructionFile ? ", instruction file" : "";
          await record(`Java SDK 1, ${what}, ${kind}${place}, ${length} bytes`, kind, objectKey, plaintext);
        }
        const gates = {
          commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
          enableLegacyWrappingAlgorithms: generation === 1,
          enableLegacyUnauthenticatedModes: mode === "EncryptionOnly",
          encryptionContext: {},
        } as const;
        const open = async (more: Partial<EncryptS3ClientOptions>, Range?: string): Promise<Buffer> => {
          const client = ours("v3", kind, { ...gates, ...more });
          const output = await client.send(new GetObjectCommand({ Bucket: bucket, Key: objectKey, Range }));
          expect(output.ContentLength).toBe(Range === undefined ? length : 9);
          return Buffer.from((await output.Body?.transformToByteArray()) ?? []);
        };
        done.tried += 1;
        expect((await open({})).equals(plaintext), `${what}, ${length}`).toBe(true);
        if (length === 5000) {
          const ranged = { enableLegacyUnauthenticatedModes: true };
          for (const first of [0, 1, 16, 100, 4991])
            expect(
              (await open(ranged, `bytes=${first}-${first + 8}`)).equals(
                plaintext.subarray(first, first + 9),
              ),
            ).toBe(true);
        }
        for (const [name, value] of [
          ["commitmentPolicy", "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"],
          ["enableLegacyWrappingAlgorithms", false],
          ["enableLegacyUnauthenticatedModes", false],
        ] as const)
          if (gates[name] !== value)
            await expect(open({ [name]: value })).rejects.toMatchObject({ code: "POLICY" });
      }
    },
  );
});
