// What the peer's own tests of its encrypting and decrypting clients check, by their names (modules encrypt-node and
// decrypt-node) and in words of our own, on both packages.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, expect, test } from "vitest";
import { cut } from "../message/fixtures.ts";
import { collect, type Named, packages, pairs, type Sdk } from "./packages.ts";

const wrappingKey = randomBytes(32);
const keyringOf = (sdk: Sdk, name = "k") =>
  new sdk.RawAesKeyringNode({
    keyName: name,
    keyNamespace: "n",
    unencryptedMasterKey: Uint8Array.from(wrappingKey),
    wrappingSuite: sdk.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
    utf8Sorting: true,
  });
/** A keyring that wraps under several names, so that a message has several wrapped keys. */
const severalOf = (sdk: Sdk, count: number) =>
  new sdk.MultiKeyringNode({
    generator: keyringOf(sdk),
    children: Array.from({ length: count - 1 }, (_, i) => keyringOf(sdk, `k${i}`)),
  });
const encryptionContext = { simple: "context" };
const UNSIGNED = 0x0478;
const forbid = "FORBID_ENCRYPT_ALLOW_DECRYPT";

describe.each(packages)("encrypt of %s", (name, sdk) => {
  const { encrypt, encryptStream, decrypt } = sdk.buildClient();
  const keyring = keyringOf(sdk);

  test.each<[string, () => string | Buffer | Readable, string]>([
    ["a string", () => "asdf", "asdf"],
    ["a string with an encoding", () => "YXNkZg==", "asdf"],
    ["a buffer", () => Buffer.from("asdf"), "asdf"],
    ["a stream", () => Readable.from(["as", "df"], { objectMode: false }), "asdf"],
    ["an empty message", () => Buffer.alloc(0), ""],
  ])("%s", async (what, plaintext, expected) => {
    const encoding = what.includes("encoding") ? "base64" : undefined;
    const { result, messageHeader } = await encrypt(keyring, plaintext(), { encryptionContext, encoding });
    const read = await decrypt(keyring, result);
    expect(read.plaintext.toString()).toBe(expected);
    expect(read.messageHeader).toEqual(messageHeader);
    expect(messageHeader).toMatchObject({ version: 2, suiteId: 0x0578, contentType: 2, frameLength: 4096 });
    expect(Object.keys(messageHeader.encryptionContext).sort()).toEqual(["aws-crypto-public-key", "simple"]);
    expect(messageHeader.encryptedDataKeys).toHaveLength(1);
    expect(messageHeader.encryptedDataKeys[0]).toBeInstanceOf(sdk.EncryptedDataKey);
    expect(messageHeader.encryptedDataKeys[0]).toMatchObject({ providerId: "n" });
  });

  test("Unsupported plaintext", async () => {
    await expect(encrypt(keyring, {} as never)).rejects.toThrow();
  });

  test("encryptStream, fed byte by byte, tells its header once", async () => {
    const data = randomBytes(300);
    const headers: unknown[] = [];
    const stream = encryptStream(keyring, { encryptionContext, frameLength: 16 });
    stream.on("MessageHeader", (header) => headers.push(header));
    const [, result] = await Promise.all([pipeline(Readable.from(cut(data, 1)), stream), collect(stream)]);
    const read = await decrypt(keyring, result);
    expect(data.equals(read.plaintext)).toBe(true);
    expect(headers).toEqual([read.messageHeader]);
  });

  test("The frameLength must be within its bounds.", async () => {
    for (const frameLength of [0, -1, 2 ** 32])
      await expect(encrypt(keyring, "asdf", { frameLength })).rejects.toThrow("frameLength");
  });

  test("Only algorithm suites that the commitmentPolicy supports can be written.", async () => {
    const client = sdk.buildClient(sdk.CommitmentPolicy[forbid]);
    const tryIt = async (): Promise<unknown> => client.encrypt(keyring, "asdf", { suiteId: UNSIGNED });
    await expect(tryIt()).rejects.toThrow(/policy/i);
    const other = async (): Promise<unknown> => encrypt(keyring, "asdf", { suiteId: 0x0178 });
    await expect(other()).rejects.toThrow(/policy/i);
  });

  test.each([2, 3, 4])(
    "encryption materials must not exceed maxEncryptedDataKeys: %i of 3",
    async (count) => {
      const client = sdk.buildClient({
        maxEncryptedDataKeys: 3,
        commitmentPolicy: sdk.CommitmentPolicy[forbid],
      });
      const written = client.encrypt(severalOf(sdk, count), "asdf");
      if (count > 3) await expect(written).rejects.toThrow();
      else expect((await written).messageHeader.encryptedDataKeys).toHaveLength(count);
    },
  );

  test("plaintextLength must be within bounds, and no more than it is processed", async () => {
    const write = async (plaintextLength: number): Promise<unknown> => {
      const stream = encryptStream(keyring, { plaintextLength });
      return Promise.all([pipeline(Readable.from([Buffer.alloc(1100)]), stream), collect(stream)]);
    };
    await expect(write(-1)).rejects.toThrow(/plaintextLength/);
    await write(1100);
    // The peer also throws outside of its stream then, where nobody can catch it.
    if (name === "ours") await expect(write(1000)).rejects.toThrow();
  });

  test("A keyring of one's own gives the data key and its wrapped form", async () => {
    const edk = new sdk.EncryptedDataKey({
      providerId: "p",
      providerInfo: "i",
      encryptedDataKey: new Uint8Array(3),
    });
    const dataKey = randomBytes(32);
    const trace = { keyNamespace: "p", keyName: "i" };
    const { KeyringTraceFlag: flag } = sdk;
    class OwnKeyring extends sdk.KeyringNode {
      override async _onEncrypt(material: InstanceType<Sdk["NodeEncryptionMaterial"]>) {
        expect(material.suite.keyLengthBytes).toBe(32);
        return material
          .setUnencryptedDataKey(Uint8Array.from(dataKey), {
            ...trace,
            flags: flag.WRAPPING_KEY_GENERATED_DATA_KEY,
          })
          .addEncryptedDataKey(edk, flag.WRAPPING_KEY_ENCRYPTED_DATA_KEY);
      }
      override async _onDecrypt(
        material: InstanceType<Sdk["NodeDecryptionMaterial"]>,
        keys: InstanceType<Sdk["EncryptedDataKey"]>[],
      ) {
        expect(keys.map(({ providerId, providerInfo }) => [providerId, providerInfo])).toEqual([["p", "i"]]);
        return material.setUnencryptedDataKey(Uint8Array.from(dataKey), {
          ...trace,
          flags: flag.WRAPPING_KEY_DECRYPTED_DATA_KEY,
        });
      }
    }
    const own = new OwnKeyring();
    const { result } = await encrypt(own, "asdf");
    expect((await decrypt(own, result)).plaintext.toString()).toBe("asdf");
  });
});

describe.each(packages)("clients of %s", (_name, sdk) => {
  test("can be built, with a policy, with a bound of encrypted data keys, and in halves", () => {
    for (const options of [
      undefined,
      sdk.CommitmentPolicy[forbid],
      { maxEncryptedDataKeys: 2 ** 16 },
    ] as const) {
      const client = sdk.buildClient(options as never);
      expect(Object.keys(client).sort()).toEqual([
        "decrypt",
        "decryptStream",
        "decryptUnsignedMessageStream",
        "encrypt",
        "encryptStream",
      ]);
      expect(Object.keys(sdk.buildEncrypt(options as never)).sort()).toEqual(["encrypt", "encryptStream"]);
      expect(Object.keys(sdk.buildDecrypt(options as never))).toHaveLength(3);
    }
  });
  test("need a valid commitmentPolicy and a valid maxEncryptedDataKeys", () => {
    expect(() => sdk.buildClient("BAD_POLICY" as never)).toThrow(/policy/i);
    for (const maxEncryptedDataKeys of [0, -1])
      expect(() => sdk.buildClient({ maxEncryptedDataKeys } as never)).toThrow(/maxEncryptedDataKeys/);
  });
});

describe.each(pairs)("messages of %s, decrypted by %s", (_writer, _reader, write, read) => {
  const writer = write.buildClient();
  const keyring = keyringOf(read);
  const seal = async (plaintext: Buffer, options: object = {}): Promise<Buffer> =>
    (await writer.encrypt(keyringOf(write), plaintext, { encryptionContext, ...options })).result;
  const { decrypt, decryptStream, decryptUnsignedMessageStream } = read.buildClient();

  test("a string with encoding, a buffer, a stream in pieces of 1 to 20 bytes", async () => {
    const sealed = await seal(Buffer.from("asdf"));
    const forms = [sealed, ...Array.from({ length: 20 }, (_, i) => Readable.from(cut(sealed, i + 1)))];
    for (const form of forms) expect((await decrypt(keyring, form)).plaintext.toString()).toBe("asdf");
    const text = await decrypt(keyring, sealed.toString("base64"), { encoding: "base64" });
    expect(text.messageHeader.encryptionContext).toMatchObject(encryptionContext);
  });

  test.each([16_384, 32_768, 1_000_000])("all frames, from pieces of %i bytes", async (size) => {
    const plaintext = randomBytes(40_960);
    const sealed = await seal(plaintext, { frameLength: 16_384, suiteId: UNSIGNED });
    expect(plaintext.equals((await decrypt(keyring, sealed)).plaintext)).toBe(true);
    for (const open of [decryptStream, decryptUnsignedMessageStream]) {
      const stream = open(keyring);
      const [, result] = await Promise.all([
        pipeline(Readable.from(cut(sealed, size)), stream),
        collect(stream),
      ]);
      expect(plaintext.equals(result)).toBe(true);
    }
  });

  test("The sequence number must increase, starting from 1; the signature must be valid.", async () => {
    const frames = await seal(randomBytes(48), { frameLength: 16, suiteId: UNSIGNED });
    const frame = 4 + 12 + 16 + 16;
    const final = frames.length - (4 + 4 + 12 + 4 + 16 + 16);
    const [first, second] = [
      frames.subarray(final - 2 * frame, final - frame),
      frames.subarray(final - frame, final),
    ];
    const head = frames.subarray(0, final - 2 * frame);
    const swapped = Buffer.concat([head, second, first, frames.subarray(final)]);
    await expect(decrypt(keyring, swapped)).rejects.toThrow();
    const signed = await seal(Buffer.from("asdf"));
    signed[signed.length - 1] = (signed.at(-1) ?? 0) ^ 1;
    await expect(decrypt(keyring, signed)).rejects.toThrow();
  });

  test("maxBodySize bounds what frames hold", async () => {
    const sealed = await seal(Buffer.from("asdf"));
    expect((await decrypt(keyring, sealed, { maxBodySize: 4 })).plaintext.toString()).toBe("asdf");
    await expect(decrypt(keyring, sealed, { maxBodySize: 3 })).rejects.toThrow();
    const two = await seal(randomBytes(5000));
    await expect(decrypt(keyring, two, { maxBodySize: 4095 })).rejects.toThrow();
    expect((await decrypt(keyring, two, { maxBodySize: 4096 })).plaintext).toHaveLength(5000);
  });

  test.each([2, 3, 4])("%i encrypted data keys where 3 are allowed", async (count) => {
    const { result } = await writer.encrypt(severalOf(write, count), "asdf");
    const opened = read.buildClient({ maxEncryptedDataKeys: 3 } as never).decrypt(keyring, result);
    if (count > 3) await expect(opened).rejects.toThrow();
    else expect((await opened).plaintext.toString()).toBe("asdf");
  });

  test("The suite in the header must be supported by the commitmentPolicy.", async () => {
    const old = write.buildClient(write.CommitmentPolicy[forbid]);
    const { result } = await old.encrypt(keyringOf(write), "asdf");
    await expect(decrypt(keyring, result)).rejects.toThrow(/policy/i);
    const lenient = read.buildClient(read.CommitmentPolicy.REQUIRE_ENCRYPT_ALLOW_DECRYPT);
    expect((await lenient.decrypt(keyring, result)).messageHeader).toMatchObject({ version: 1, type: 128 });
  });

  test("decryptUnsignedMessageStream refuses a signed message", async () => {
    const sealed = await seal(randomBytes(100));
    const stream = decryptUnsignedMessageStream(keyring);
    const out: Buffer[] = [];
    stream.on("data", (chunk) => out.push(chunk));
    await expect(pipeline(Readable.from([sealed]), stream)).rejects.toThrow(/sign/i);
    expect(Buffer.concat(out)).toHaveLength(0);
  });

  test("A message that ends in its header or its body is an error", async () => {
    const sealed = await seal(randomBytes(100));
    for (const length of [0, 1, 50, sealed.length - 150, sealed.length - 1])
      await expect(decrypt(keyring, sealed.subarray(0, length))).rejects.toThrow();
  });
});

test("both packages write messages of the same length", async () => {
  for (const [length, frameLength] of [
    [0, 4096],
    [1, 16],
    [10_000, 1024],
  ] as const) {
    const sizes = await Promise.all(
      packages.map(async ([, sdk]: Named) => {
        const options = { suiteId: UNSIGNED, frameLength, encryptionContext };
        return (await sdk.buildClient().encrypt(keyringOf(sdk), Buffer.alloc(length), options)).result.length;
      }),
    );
    expect(sizes[0]).toBe(sizes[1]);
  }
});
