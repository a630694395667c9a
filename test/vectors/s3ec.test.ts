// Objects and wrapped keys of the Amazon S3 Encryption Clients that others made.
import { createPrivateKey, createSecretKey } from "node:crypto";
import { expect, test } from "vitest";
import { RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { registerWrappingKeys } from "../../src/keyring/raw-key.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { commitmentOf, contentKeyOf } from "../../src/s3/single-message/content-key.ts";
import type { Envelope, WrapAlgorithm } from "../../src/s3/single-message/envelope.ts";
import { unwrapDataKey } from "../../src/s3/single-message/wrapped-key.ts";
import { decryptObject, type ObjectOptions } from "../../src/s3.ts";
import { engineNames } from "../message/fixtures.ts";
import { describeVectors, readVector } from "./foreign.ts";

const location = { bucket: "b", key: "k" };
const hex = (text: string): Buffer => Buffer.from(text, "hex");
const base64 = (text: string): Buffer => Buffer.from(text, "base64");

interface PythonObject {
  readonly metadata: Readonly<Record<string, string>>;
  readonly ciphertext: string;
  readonly dataKey: string;
  readonly plaintext: string;
}

test("known answers of key derivation and commitment (Go client)", () => {
  const answers = [
    [
      "80d90dc4cc7e77d8a6332efa44eba56230a7fe7b89af37d1e501ab2e07c0a163",
      "b8ea76bed24c7b85382a148cb9dcd1cfdfb765f55ded4dfa6e0c4c79",
      "6dd14f546cc006e639126e83f5d4d1b118576bb5df97f38c6fb3a1db87bbc338",
      "f89818bc0a346d3a3426b68e9509b6b2ae5fe1f904aa329fb73625db",
    ],
    [
      "501afb8227d22e75e68010414b8abdaf3064c081e8e922dafef4992036394d60",
      "61a00b4981a5aacfd136c55cb726e32d2a547dc7600a7d4675c69127",
      "e14786a714748d1d2c3a4a6816dec56ddf1881bbeabb4f39420ffb9f63700b2f",
      "5c1e73e47f6fe3a70d6d094283aceaa76d2975feb829212d88f0afc1",
    ],
  ] as const;
  for (const [dataKey, id, contentKey, expected] of answers) {
    const [messageId, commitment] = [hex(id), commitmentOf(hex(dataKey), hex(id))];
    expect(Buffer.from(commitment).toString("hex")).toBe(expected);
    const envelope = { version: 3, messageId, commitment } as unknown as Envelope;
    expect(Buffer.from(contentKeyOf(envelope, hex(dataKey))).toString("hex")).toBe(contentKey);
  }
});

describeVectors("objects of the Python client", () => {
  const objects = JSON.parse(readVector("s3ec", "python-v2-v3.json").toString()) as Record<
    string,
    PythonObject
  >;

  for (const [name, { metadata, ciphertext, dataKey, plaintext }] of Object.entries(objects)) {
    const keyId = `arn:aws:kms:us-east-1:111122223333:key/${"1".repeat(8)}-1111-1111-1111-${"1".repeat(12)}`;
    // KMS has gone since; it would answer with the key that stands in the vector.
    const client = { send: async () => ({ Plaintext: hex(dataKey), KeyId: keyId }) };
    const keyring = new KmsKeyring({ client: client as never, keyIds: [keyId] });
    const options: ObjectOptions = {
      keyring,
      encryptionContext: { team: "alpha" },
      commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
    };
    const open = (change: Partial<ObjectOptions>, body = base64(ciphertext)) =>
      decryptObject(location, { body, metadata }, { ...options, ...change });

    test(`${name}: every mode opens it`, async () => {
      for (const authentication of ["verified", "buffered", "two-pass", "delayed"] as const)
        for (const engine of engineNames)
          expect(Buffer.from((await open({ authentication, engine })).body).toString()).toBe(plaintext);
    });

    test(`${name}: other contexts, policies and bytes do not`, async () => {
      for (const encryptionContext of [{}, { team: "beta" }, { team: "alpha", more: "x" }])
        await expect(open({ encryptionContext })).rejects.toMatchObject({
          code: "CONTEXT_MISMATCH",
          message: "Provided encryption context does not match information retrieved from S3",
        });
      const strict = open({ commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" });
      if (name === "v2") await expect(strict).rejects.toMatchObject({ code: "POLICY" });
      else expect((await strict).contentLength).toBe(plaintext.length);
      const body = base64(ciphertext);
      for (let at = 0; at < body.length; at += 1) {
        const changed = Buffer.from(body);
        changed[at] = (changed[at] ?? 0) ^ 0x40;
        await expect(open({}, changed)).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
      }
    });
  }
});

describeVectors("data keys wrapped by the Java platform", () => {
  const wraps = JSON.parse(readVector("s3ec", "jce-wraps.json").toString()) as Record<string, string>;
  const privateKey = createPrivateKey({ key: base64(wraps.pkcs8 ?? ""), type: "pkcs8", format: "der" });
  const names = { keyNamespace: "n", keyName: "k" };
  const rsa = new RawRsaKeyring({ ...names, privateKey, padding: "OAEP-SHA-1" });
  // Wrapped under zeros, which no keyring takes as a wrapping key: they get in behind its back.
  const aes = new RawAesKeyring({ ...names, wrappingKey: Buffer.alloc(32, 1) });
  registerWrappingKeys(aes, { secretKey: createSecretKey(Buffer.alloc(32)), materialDescription: {} });
  const expected = Uint8Array.from({ length: 32 }, (_, index) => index);
  const cases: [field: string, wrap: WrapAlgorithm, keyring: RawRsaKeyring | RawAesKeyring][] = [
    ["oaep1", "RSA-OAEP-SHA1", rsa],
    ["oaep256", "RSA/ECB/OAEPWithSHA-256AndMGF1Padding", rsa],
    ["pkcs1", "RSA", rsa],
    ["aeswrap", "AESWrap", aes],
    ["aesecb", "AES", aes],
  ];
  const open = (wrap: WrapAlgorithm, encryptedDataKey: Uint8Array, keyring: RawRsaKeyring | RawAesKeyring) =>
    unwrapDataKey(
      { wrap, encryptedDataKey, description: {}, content: "committing-gcm" } as unknown as Envelope,
      {
        keyring,
        encryptionContext: {},
      },
    );

  test.each(cases)("%s unwraps", async (field, wrap, keyring) => {
    expect(await open(wrap, base64(wraps[field] ?? ""), keyring)).toEqual(expected);
  });

  test.each(cases)(
    "%s: a changed one fails with the one error, or gives another key",
    async (field, wrap, keyring) => {
      const sealed = base64(wraps[field] ?? "");
      for (const at of [0, 1, sealed.length >> 1, sealed.length - 1]) {
        const changed = Buffer.from(sealed);
        changed[at] = (changed[at] ?? 0) ^ 1;
        if (wrap === "RSA") {
          // No answer that a Bleichenbacher attack could use: always the same wrong key.
          const key = await open(wrap, changed, keyring);
          expect(key).not.toEqual(expected);
          expect(await open(wrap, changed, keyring)).toEqual(key);
        } else if (wrap === "AES" && at < 32) {
          expect(await open(wrap, changed, keyring)).not.toEqual(expected); // ECB cannot tell
        } else
          await expect(open(wrap, changed, keyring)).rejects.toMatchObject({
            code: "AUTHENTICATION_FAILED",
            message: "message is not authentic",
          });
      }
    },
  );
});
