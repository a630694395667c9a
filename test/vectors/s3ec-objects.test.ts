// Small objects as the S3 Encryption Clients write them: s3ec-objects.json, made by the integration tests (npm run
// test:integration with FRAMESEAL_WRITE_VECTORS). Keys are bytes in base64; KMS is replaced by the data key it would give.
import { createPublicKey } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Keyring, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { decryptObject, type ObjectOptions } from "../../src/s3.ts";
import { engineNames } from "../message/fixtures.ts";
import vectors from "./s3ec-objects.json" with { type: "json" };

interface Vector {
  readonly name: string;
  readonly aesKey?: string;
  readonly rsaPrivateKey?: string;
  readonly kmsDataKey?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly instructionFile?: string;
  readonly body: string;
  readonly plaintext: string;
}

const location = { bucket: "b", key: "k" };
const names = { keyNamespace: "n", keyName: "k" };
const base64 = (text: string): Buffer => Buffer.from(text, "base64");

function keyringOf({ aesKey, rsaPrivateKey, kmsDataKey }: Vector): Keyring {
  if (aesKey !== undefined) return new RawAesKeyring({ ...names, wrappingKey: base64(aesKey) });
  if (rsaPrivateKey !== undefined) {
    const pem = `-----BEGIN PRIVATE KEY-----\n${rsaPrivateKey}\n-----END PRIVATE KEY-----`;
    return new RawRsaKeyring({
      ...names,
      privateKey: pem,
      publicKey: createPublicKey(pem),
      padding: "OAEP-SHA-1",
    });
  }
  const keyId = `arn:aws:kms:us-east-1:111122223333:key/${"1".repeat(8)}-1111-1111-1111-${"1".repeat(12)}`;
  const client = { send: async () => ({ Plaintext: base64(kmsDataKey ?? ""), KeyId: keyId }) };
  return new KmsKeyring({ client: client as never, keyIds: [keyId] });
}

/** What the caller must say for KMS: the stored context without the pairs that clients add. */
function contextOf({ metadata, instructionFile }: Vector): Record<string, string> {
  const file = instructionFile === undefined ? {} : (JSON.parse(instructionFile) as Record<string, string>);
  const entries: Readonly<Record<string, string>> = { ...file, ...metadata };
  const wrap = entries["x-amz-wrap-alg"] ?? entries["x-amz-w"];
  if (wrap !== "kms+context" && wrap !== "12") return {};
  const context = JSON.parse(entries["x-amz-t"] ?? entries["x-amz-matdesc"] ?? "{}") as Record<
    string,
    string
  >;
  const { "aws:x-amz-cek-alg": _, kms_cmk_id: __, ...rest } = context;
  return rest;
}

const open = (vector: Vector, body: Buffer, more: Partial<ObjectOptions> = {}) =>
  decryptObject(
    location,
    {
      ...{ body, metadata: vector.metadata },
      ...(vector.instructionFile === undefined
        ? {}
        : { instructionFile: Buffer.from(vector.instructionFile) }),
    },
    {
      keyring: keyringOf(vector),
      encryptionContext: contextOf(vector),
      commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
      enableLegacyWrappingAlgorithms: true,
      enableLegacyUnauthenticatedModes: true,
      ...more,
    },
  );

describe.each(engineNames)("on the %s engine", (engine) => {
  test.each(vectors as readonly Vector[])("$name", async (vector) => {
    const body = base64(vector.body);
    for (const authentication of ["buffered", "two-pass", "delayed"] as const) {
      const opened = await open(vector, body, { engine, authentication });
      expect(Buffer.from(opened.body).toString("base64")).toBe(vector.plaintext);
    }
    if (vector.name.includes("CBC") || vector.name.includes("s3ec-v1")) return; // nothing authenticates these
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await expect(open(vector, changed, { engine })).rejects.toMatchObject({
        code: "AUTHENTICATION_FAILED",
      });
    }
  });
});

test("the set holds every version, wrap and place", () => {
  expect(vectors.length).toBeGreaterThanOrEqual(68);
  const places = new Set(vectors.map((vector) => "instructionFile" in vector));
  expect(places.size).toBe(2);
  const wraps = (vectors as readonly Vector[]).map(({ metadata, instructionFile }) => {
    const file = instructionFile === undefined ? {} : (JSON.parse(instructionFile) as Record<string, string>);
    const entries: Readonly<Record<string, string>> = { ...file, ...metadata };
    return entries["x-amz-w"] ?? entries["x-amz-wrap-alg"] ?? ("x-amz-key" in entries ? "version 1" : "none");
  });
  expect([...new Set(wraps)].sort()).toEqual([
    ...["02", "12", "22", "AES/GCM", "AESWrap", "RSA-OAEP-SHA1"],
    ...["RSA/ECB/OAEPWithSHA-256AndMGF1Padding", "kms", "kms+context", "version 1"],
  ]);
});
