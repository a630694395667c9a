import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decodeEncryptionContext } from "../../src/format/encryption-context.ts";
import { decrypt, type Keyring, RawAesKeyring } from "../../src/index.ts";
import { encryptObject } from "../../src/s3.ts";

const exampleKeyring: Keyring = {
  generateDataKey: () => Promise.reject(new Error("not used")),
  wrapDataKey: () => Promise.reject(new Error("not used")),
  unwrapDataKey: async () => Uint8Array.from({ length: 32 }, (_, index) => index),
};

/** The bytes of an example, counted from 1. */
function exampleBytes(number: number): Buffer {
  const document = readFileSync(new URL("../../src/format/FORMAT.md", import.meta.url), "utf8");
  const block = document.split("```hex\n")[number]?.split("```")[0] ?? "";
  const hex = block
    .split("\n")
    .map((line) => line.split(" ")[0])
    .join("");
  return Buffer.from(hex, "hex");
}

test("the worked example of FORMAT.md decrypts to what the document says", async () => {
  const message = exampleBytes(1);
  expect(message.length).toBe(215);
  const { plaintext, header } = await decrypt(message, { keyring: exampleKeyring });
  expect(plaintext.toString()).toBe("hello, frameseal!");
  expect({ ...header.encryptionContext }).toEqual({ purpose: "doc" });
});

test("the encryption context of an object that is bound to key and bucket is written as the document says", async () => {
  const example = exampleBytes(2);
  const location = { bucket: "backups", key: "2026/shop.sql" };
  const context = example.subarray(2);
  expect(context.length).toBe(example.readUInt16BE());
  expect({ ...decodeEncryptionContext(context) }).toEqual({
    "frameseal-bucket": location.bucket,
    "frameseal-key": location.key,
  });
  const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: Buffer.alloc(32, 1) });
  const { body } = await encryptObject(location, Buffer.from("text"), { keyring, bind: "bucket" });
  expect(Buffer.from(body).includes(example)).toBe(true);
});
