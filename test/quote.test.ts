// Text of others in messages of ours: escaped and bounded, wherever it comes in.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildClient } from "../src/client-node.ts";
import { allCauses, FramesealError } from "../src/errors.ts";
import {
  createDecryptStream,
  decrypt,
  decryptFile,
  encrypt,
  inspectHeader,
  type Keyring,
  keyringFromKeyFile,
  MultiKeyring,
  openMessage,
  RawAesKeyring,
  RawRsaKeyring,
} from "../src/index.ts";
import { type KmsClient, KmsKeyring } from "../src/kms.ts";
import { list, quote, shorten } from "../src/quote.ts";
import { decryptObject, deriveSseCKey, encryptObject, encryptS3Client } from "../src/s3.ts";
import { expectPlain } from "./support/plain-text.ts";

const CONTROLS = "\u001b]0;title\u0007\u001b[2J\u009b31m\r\n\t\u0000\u007f";
const DIRECTIONS = "\u202e\u2066\u200f\u061c\u2028\ufeff\u{e0041}";
/** Short ones, long ones, and halves of pairs where they can be. */
const hostile: readonly string[] = [
  CONTROLS,
  DIRECTIONS,
  `${CONTROLS}${DIRECTIONS}`.repeat(2000),
  "a".repeat(65_000),
  "\u202e".repeat(20_000),
  "\u{1f600}".repeat(15_000),
  "\u{e0041}".repeat(10_000),
  '"\\'.repeat(5000),
];
const loose = ["\ud800".repeat(3000), `a\udc00${"b".repeat(3000)}\ud83d`];

describe("quote, shorten and list", () => {
  test.each([...hostile, ...loose].map((text, index) => [index, text] as const))("text %s", (_, text) => {
    for (const max of [40, 64, 100, 1900])
      for (const shown of [shorten(text, max), quote(text, max), list([text, text], max)]) {
        expect(shown.length).toBeLessThanOrEqual(max + 30);
        expectPlain({ message: shown });
      }
  });
  test("what is short and plain stays as it is", () => {
    for (const text of ["", "a", "größe 鍵 😀", "a".repeat(100)]) {
      expect(shorten(text, 100)).toBe(text);
      expect(quote(text)).toBe(`"${text}"`);
    }
    expect(quote('a"b\\c')).toBe('"a\\"b\\\\c"');
    expect(quote("a\u001b")).toBe('"a\\u001b"');
    expect(quote("\u{e0041}")).toBe('"\\udb40\\udc41"');
    expect(quote("a".repeat(101))).toBe(`"${"a".repeat(100)}…" (101 characters)`);
    expect(list(["a", "b"], 10)).toBe("a; b");
    expect(list(["a", "b", "c".repeat(9)], 10)).toBe("a; b; and 1 more");
  });
  test("no error of this package is long or obeyed, nor what it sums up", () => {
    for (const text of [...hostile, ...loose]) {
      expectPlain(new FramesealError("POLICY", text));
      expectPlain({ message: allCauses([new Error(text), text, new Error(text)]).message });
      const many = allCauses(Array.from({ length: 5000 }, () => new Error(text)));
      expectPlain({ message: many.message });
      expect(many.message).toMatch(/and \d+ more$/);
      expect(many.errors).toHaveLength(5000);
      expect(allCauses([new Error(text), new Error(text), new Error("the last")]).message).toContain(
        "the last",
      );
    }
  });
});

const key = randomBytes(32);
const names = { keyNamespace: "n", keyName: "k" };
const keyring = new RawAesKeyring({ ...names, wrappingKey: key });
const stranger = new RawAesKeyring({ ...names, keyName: "other", wrappingKey: randomBytes(32) });
const ARN = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000";
const location = { bucket: "b", key: "k" };
const plaintext = Buffer.from("text");
let folder: string;
let serial = 0;
const file = (): string => path.join(folder, `f${++serial}`);
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "hostile-"));
});
afterAll(() => rm(folder, { recursive: true }));

const write = async (name: string, content: string | Uint8Array): Promise<string> => {
  await writeFile(name, content);
  return name;
};
/** A keyring whose entries have these names. */
const named = (text: string): Keyring => ({
  generateDataKey: async () => ({
    dataKey: Uint8Array.from(key),
    encryptedDataKeys: [{ providerId: text, providerInfo: Buffer.from(text), ciphertext: Buffer.of(1) }],
  }),
  wrapDataKey: async () => [],
  unwrapDataKey: async () => null,
});
const short = (text: string): string =>
  Buffer.from(text).subarray(0, 60_000).toString().replaceAll("\ufffd", "");
const messageOf = (text: string): Promise<Buffer> => encrypt(plaintext, { keyring: named(short(text)) });
const kmsThat = (answer: (text: string) => unknown) => (text: string) => {
  const client = { send: async () => answer(text) } as unknown as KmsClient;
  return encrypt(plaintext, { keyring: new KmsKeyring({ client, generatorKeyId: ARN }) });
};
const s3Client = (options: object): unknown =>
  encryptS3Client({ send: () => {}, config: {}, middlewareStack: {} } as never, { keyring, ...options });

/** Where text of others comes in. Each must fail, or print nothing. */
const entries: Readonly<Record<string, (text: string) => unknown>> = {
  "decrypt, names of keys": async (text) => decrypt(await messageOf(text), { keyring }),
  "decrypt, names of many keyrings": async (text) =>
    decrypt(await messageOf(text), { keyring: new MultiKeyring({ children: [keyring, stranger] }) }),
  "decrypting stream": async (text) => {
    const stream = createDecryptStream({ keyring });
    stream.end(await messageOf(text));
    return buffer(stream);
  },
  openMessage: async (text) => openMessage(await messageOf(text), { keyring }),
  decryptFile: async (text) => decryptFile(await write(file(), await messageOf(text)), file(), { keyring }),
  "the peer's client": async (text) => buildClient().decrypt(keyring, await messageOf(text)),
  "inspectHeader, not a header": (text) => inspectHeader(Buffer.from(text)),
  "decrypt, not a header": (text) => decrypt(Buffer.from(text), { keyring }),
  "decrypt, a demanded pair": async (text) => {
    const name = short(text).slice(0, 10_000);
    const message = await encrypt(plaintext, { keyring, encryptionContext: { [name]: "a" } });
    return decrypt(message, { keyring, encryptionContext: { [name]: "b" } });
  },
  "decrypt, a reserved pair": async (text) =>
    decrypt(await encrypt(plaintext, { keyring }), {
      keyring,
      encryptionContext: { [`aws-crypto-${short(text).slice(0, 10_000)}`]: "b" },
    }),
  "encrypt, a reserved pair": (text) =>
    encrypt(plaintext, { keyring, encryptionContext: { [`aws-crypto-${text}`]: "" } }),
  "encrypt, a required key": (text) => encrypt(plaintext, { keyring, requiredEncryptionContextKeys: [text] }),
  "encrypt, a policy": (text) => encrypt(plaintext, { keyring, commitmentPolicy: text as never }),
  "a key namespace": (text) =>
    new RawAesKeyring({ keyNamespace: `aws-kms${text}`, keyName: "k", wrappingKey: key }),
  "names of a raw keyring": async (text) => {
    const keyNamespace = short(text);
    const own = (wrappingKey: Buffer): Keyring =>
      new RawAesKeyring({ keyNamespace, keyName: "k", wrappingKey });
    return decrypt(await encrypt(plaintext, { keyring: own(key) }), { keyring: own(randomBytes(32)) });
  },
  "a padding": (text) => new RawRsaKeyring({ ...names, privateKey: "x", padding: text as never }),
  PEM: (text) => new RawRsaKeyring({ ...names, privateKey: text, padding: "PKCS1" }),
  "a material description": (text) =>
    new RawAesKeyring({ ...names, wrappingKey: key, materialDescription: { [text]: 1 as never } }),
  "a KMS key": (text) => new KmsKeyring({ client: { send: async () => ({}) } as never, keyIds: [text] }),
  "a partition": (text) => kmsDiscovery({ partition: text, accountIds: ["111122223333"] }),
  "an account": (text) => kmsDiscovery({ partition: "aws", accountIds: [text] }),
  "a region": (text) => kmsDiscovery({ partition: "aws", accountIds: ["111122223333"], region: text }),
  "an error of KMS": kmsThat((text) => {
    throw Object.assign(new Error(text), {
      name: "AccessDeniedException",
      $fault: "client",
      $metadata: { requestId: text },
    });
  }),
  "a name of an error of KMS": kmsThat((text) => {
    throw Object.assign(new Error(text), { name: text, $fault: "client", code: text });
  }),
  "an error of KMS that looks like ours": kmsThat((text) => {
    throw Object.assign(new Error(text), { name: "FramesealError", code: "KEY_SERVICE", $fault: "server" });
  }),
  "what is no error": kmsThat((text) => {
    throw text;
  }),
  "a key that KMS used": kmsThat((text) => ({
    KeyId: text,
    Plaintext: randomBytes(32),
    CiphertextBlob: Buffer.of(1),
  })),
  "a key file, content": async (text) => keyringFromKeyFile(await write(file(), text)),
  "a key file, a JWK": async (text) =>
    keyringFromKeyFile(await write(file(), JSON.stringify({ kty: "oct", k: text, kid: text, alg: text }))),
  "a key file, a name": async (text) =>
    keyringFromKeyFile(
      await write(
        file(),
        JSON.stringify({ kty: "oct", k: key.toString("base64url"), kid: `aws-kms${text}`.repeat(2) }),
      ),
      { keyNamespace: `aws-kms${text}` },
    ),
  "a key file, PEM": async (text) => keyringFromKeyFile(await write(file(), `-----BEGIN ${text}`)),
  "a key file, its path": async (text) => {
    const name = path.join(
      folder,
      Buffer.from(text)
        .subarray(0, 200)
        .toString()
        .replace(/[\0/\ufffd]/g, "_"),
    );
    return keyringFromKeyFile(await write(name, "no key"));
  },
  "an object, a format": (text) => encryptObject(location, plaintext, { keyring, format: text as never }),
  "an object, a reserved pair": (text) =>
    encryptObject(location, plaintext, { keyring, encryptionContext: { [`frameseal-${text}`]: "" } }),
  "an object, a binding": (text) => encryptObject(location, plaintext, { keyring, bind: text as never }),
  "an object, its encoding": (text) => encryptObject(location, plaintext, { keyring, contentEncoding: text }),
  "an object, where it is": (text) =>
    decryptObject({ bucket: text, key: text }, { body: plaintext, metadata: {} }, { keyring }),
  "a client, an option": (text) => s3Client({ [text]: 1 }),
  "a client, a value": (text) => s3Client({ commitmentPolicy: text }),
  "an SSE-C key, its bucket": (text) =>
    deriveSseCKey({ masterKey: key, masterKeyVersion: 1, bucket: text, key: "k" }),
};
function kmsDiscovery(discovery: object): unknown {
  return new KmsKeyring({ client: { send: async () => ({}) } as never, discovery: discovery as never });
}

/** Everything that the metadata of objects can hold, with each entry replaced. */
async function metadataCases(text: string): Promise<(readonly [string, () => Promise<unknown>])[]> {
  const cases: (readonly [string, () => Promise<unknown>])[] = [];
  const formats = {
    framed: {},
    "s3ec-v3": {},
    "s3ec-v2": { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" },
  } as const;
  for (const [format, more] of Object.entries(formats)) {
    const options = { keyring, format: format as "framed", ...more };
    const { body, metadata } = await encryptObject(location, plaintext, options);
    for (const name of Object.keys(metadata)) {
      const changed = { body, metadata: { ...metadata, [name]: text } };
      cases.push([`${format} ${name}`, () => decryptObject(location, changed, options)]);
      const { [name]: _, ...rest } = metadata;
      const instructionFile = Buffer.from(JSON.stringify({ [name]: text, [text]: text }));
      cases.push([
        `${format} file ${name}`,
        () => decryptObject(location, { body, metadata: rest, instructionFile }, options),
      ]);
    }
    const file = { body, metadata: {}, instructionFile: Buffer.from(text) };
    cases.push([`${format} file`, () => decryptObject(location, file, options)]);
  }
  return cases;
}

async function outcomeOf(run: () => unknown): Promise<unknown> {
  try {
    await run();
    return "nothing thrown";
  } catch (error) {
    return error;
  }
}

describe("wherever text of others comes in, errors stay short and plain:", () => {
  test.each(Object.entries(entries))("%s", async (_, run) => {
    let errors = 0;
    for (const text of hostile) {
      const error = await outcomeOf(() => run(text));
      if (error === "nothing thrown") continue;
      errors += 1;
      // What the caller's own file system or SDK says is not ours; what we add to it is.
      expect(error).toMatchObject({ name: expect.stringMatching(/^(FramesealError|TypeError|RangeError)$/) });
      expectPlain(error);
    }
    expect(errors).toBeGreaterThan(0);
  });

  test("metadata and instruction files", async () => {
    let errors = 0;
    for (const text of hostile)
      for (const [what, run] of await metadataCases(text)) {
        const error = await outcomeOf(run);
        if (error === "nothing thrown") continue;
        errors += 1;
        expect(error, what).toMatchObject({ name: "FramesealError" });
        expectPlain(error);
      }
    expect(errors).toBeGreaterThan(200);
  });
});
