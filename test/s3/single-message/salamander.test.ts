// Ciphertexts that open under two keys: plain GCM allows them, and they are built here. A format without commitment
// opens them as two different plaintexts; formats with commitment must not.
import { createCipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import {
  add,
  type FieldElement,
  fromElement,
  invert,
  multiply,
  power,
  toElement,
} from "../../../src/engine/gf128.ts";
import { decrypt, RawAesKeyring } from "../../../src/index.ts";
import { decryptObject } from "../../../src/s3.ts";
import { referenceKeys, referenceSuite, uint32, uint64, writeMessage } from "../../message/reference.ts";

const COUNT = 1000;
const location = { bucket: "b", key: "k" };
const names = { keyNamespace: "n", keyName: "k" };

/** What GHASH and the tag need of one key. */
function hashKey(key: Buffer, iv: Buffer): { h: FieldElement; mask: FieldElement } {
  const encrypt = (block: Buffer): Buffer =>
    createCipheriv("aes-256-ecb", key, null).setAutoPadding(false).update(block);
  return {
    h: toElement(encrypt(Buffer.alloc(16))),
    mask: toElement(encrypt(Buffer.concat([iv, uint32(1)]))),
  };
}

/** A body of `blocks` blocks and its tag, authentic under both keys: the last block is solved for. */
function twoKeys(keys: readonly [Buffer, Buffer], iv: Buffer, aad: Buffer, blocks: number): Buffer {
  const body = randomBytes(16 * blocks);
  const lengths = Buffer.concat([uint64(8 * aad.length), uint64(128 * blocks)]);
  const [one, two] = keys.map((key) => hashKey(key, iv)) as [
    ReturnType<typeof hashKey>,
    ReturnType<typeof hashKey>,
  ];
  // The tag without the last block's part: mask + GHASH(aad, body up to it, lengths).
  const padded = Buffer.concat([aad, Buffer.alloc((16 - (aad.length % 16)) % 16), body.subarray(0, -16)]);
  const partOf = ({ h, mask }: ReturnType<typeof hashKey>): FieldElement => {
    let sum: FieldElement = new Uint32Array(4);
    for (let at = 0; at < padded.length; at += 16)
      sum = multiply(add(sum, toElement(padded.subarray(at, at + 16))), h);
    sum = multiply(sum, h); // the last block, as zero
    return add(mask, multiply(add(sum, toElement(lengths)), h));
  };
  // part1 + x·h1² = part2 + x·h2², so x = (part1 + part2) / (h1² + h2²)
  const x = multiply(add(partOf(one), partOf(two)), invert(add(power(one.h, 2), power(two.h, 2))));
  body.set(fromElement(x), body.length - 16);
  const tag = fromElement(add(partOf(one), multiply(x, power(one.h, 2))));
  return Buffer.concat([body, tag]);
}

const wrappingKey = randomBytes(32);
const keyring = new RawAesKeyring({ ...names, wrappingKey });

function wrap(dataKey: Buffer, algorithm: string): string {
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", wrappingKey, iv).setAAD(Buffer.from(algorithm));
  return Buffer.concat([iv, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]).toString("base64");
}
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const outcome = (opening: Promise<{ body: Uint8Array }>): Promise<string> =>
  opening.then(
    ({ body }) => digest(body),
    (error) => error.code,
  );

test("version 2 opens them under both keys, version 3 under the committed one only", async () => {
  let [both, refused] = [0, 0];
  for (let n = 0; n < COUNT; n++) {
    const dataKeys = [randomBytes(32), randomBytes(32)] as [Buffer, Buffer];
    const iv = randomBytes(12);
    const body = twoKeys(dataKeys, iv, Buffer.alloc(0), 2 + (n % 5));
    const opened = dataKeys.map((dataKey) => {
      const metadata = {
        "x-amz-key-v2": wrap(dataKey, "AES/GCM/NoPadding"),
        "x-amz-iv": iv.toString("base64"),
        "x-amz-cek-alg": "AES/GCM/NoPadding",
        "x-amz-wrap-alg": "AES/GCM",
        "x-amz-matdesc": "{}",
        "x-amz-tag-len": "128",
      };
      return outcome(
        decryptObject(
          location,
          { body, metadata },
          { keyring, commitmentPolicy: "REQUIRE_ENCRYPT_ALLOW_DECRYPT" },
        ),
      );
    });
    const [first, second] = await Promise.all(opened);
    if (first?.length === 64 && second?.length === 64 && first !== second) both += 1;

    const messageId = randomBytes(28);
    const derive = (dataKey: Buffer, label: string, length: number): Buffer =>
      Buffer.from(
        hkdfSync(
          "sha512",
          dataKey,
          messageId,
          Buffer.concat([Buffer.of(0, 0x73), Buffer.from(label)]),
          length,
        ),
      );
    const contentKeys = dataKeys.map((dataKey) => derive(dataKey, "DERIVEKEY", 32)) as [Buffer, Buffer];
    const committed = twoKeys(contentKeys, Buffer.alloc(12, 1), Buffer.of(0, 0x73), 2 + (n % 5));
    const results = await Promise.all(
      dataKeys.map((dataKey) => {
        const metadata = {
          "x-amz-c": "115",
          "x-amz-3": wrap(dataKey, "115"),
          "x-amz-w": "02",
          "x-amz-d": derive(dataKeys[0], "COMMITKEY", 28).toString("base64"),
          "x-amz-i": messageId.toString("base64"),
        };
        return outcome(decryptObject(location, { body: committed, metadata }, { keyring }));
      }),
    );
    if (results[0]?.length === 64 && results[1] === "AUTHENTICATION_FAILED") refused += 1;
  }
  console.log(
    `two-key bodies: ${both} of ${COUNT} open under both keys in version 2, ${refused} of ${COUNT} refused in version 3`,
  );
  expect([both, refused]).toEqual([COUNT, COUNT]);
});

test("framed messages open under the committed key only", async () => {
  let refused = 0;
  for (let n = 0; n < COUNT; n++) {
    const dataKeys = [randomBytes(32), randomBytes(32)] as [Buffer, Buffer];
    const messageId = randomBytes(32);
    const blocks = 2 + (n % 5);
    const messages = dataKeys.map((dataKey, index) => {
      const wrapping = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", wrappingKey, wrapping);
      const sealed = Buffer.concat([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
      const info = Buffer.concat([Buffer.from("k"), uint32(128), uint32(12), wrapping]);
      // Header and commitment of the first key, whichever key is wrapped.
      const template = writeMessage({
        ...{ suite: 0x0478, dataKey: dataKeys[0], messageId, frameLength: 65_536 },
        plaintext: Buffer.alloc(16 * blocks),
        encryptedDataKeys: [["n", info, sealed]],
      });
      return { template, index };
    });
    const messageKeys = dataKeys.map(
      (dataKey) => referenceKeys(referenceSuite(0x0478), dataKey, messageId).messageKey,
    ) as [Buffer, Buffer];
    const nonce = Buffer.concat([Buffer.alloc(8), uint32(1)]);
    const aad = Buffer.concat([
      messageId,
      Buffer.from("AWSKMSEncryptionClient Final Frame"),
      uint32(1),
      uint64(16 * blocks),
    ]);
    const body = twoKeys(messageKeys, nonce, aad, blocks);
    const frame = Buffer.concat([uint32(0xffffffff), uint32(1), nonce, uint32(16 * blocks), body]);
    const results = await Promise.all(
      messages.map(({ template }) =>
        decrypt(Buffer.concat([template.header, frame]), { keyring }).then(
          ({ plaintext }) => plaintext.length,
          (error) => error.code,
        ),
      ),
    );
    if (results[0] === 16 * blocks && results[1] === "AUTHENTICATION_FAILED") refused += 1;
  }
  console.log(`two-key frames: ${refused} of ${COUNT} refused under the key that is not committed to`);
  expect(refused).toBe(COUNT);
});
