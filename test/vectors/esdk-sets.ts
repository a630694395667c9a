// Messages written by others, with what their manifests say must become of them. Field names that no manifest had
// when this was written fail the loader, so that a condition is not overlooked.
import { createCipheriv, createSecretKey } from "node:crypto";
import { encodeEncryptionContext } from "../../src/format/encryption-context.ts";
import {
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
  type RsaPadding,
} from "../../src/index.ts";
import { unwrapWithAesGcm } from "../../src/keyring/aes-gcm-wrap.ts";
import { readVector } from "./foreign.ts";

export interface VectorCase {
  readonly set: string;
  readonly id: string;
  readonly message: Buffer;
  /** What it decrypts to, or the code it is refused with. */
  readonly expected: { readonly plaintext: Buffer } | { readonly code: string };
  readonly keyring: Keyring;
  readonly context: Readonly<Record<string, string>>;
  /** RSA PKCS#1 v1.5: needs a platform that does it. */
  readonly needsPkcs1: boolean;
  /** What the manifest says about the header. */
  readonly suite?: number;
  readonly headerContext?: Readonly<Record<string, string>>;
}

type Json = Readonly<Record<string, unknown>>;

function readJson(...path: string[]): Json {
  return JSON.parse(readVector(...path).toString("utf8")) as Json;
}
function only(object: Json, fields: string): void {
  const known = new Set(fields.split(" "));
  for (const field of Object.keys(object)) if (!known.has(field)) throw new Error(`unknown field ${field}`);
}
function text(object: Json, field: string): string {
  const value = object[field];
  if (typeof value !== "string") throw new Error(`field ${field} is no string`);
  return value;
}
function base64(object: Json, field: string): Buffer {
  return Buffer.from(text(object, field), "base64");
}
function record(object: Json, field: string): Readonly<Record<string, string>> {
  return object[field] as Readonly<Record<string, string>>;
}

/** A keyring that hands out one known data key whatever the message says. */
function knownKey(dataKey: Uint8Array): Keyring {
  const never = (): Promise<never> => Promise.reject(new Error("not used"));
  return {
    generateDataKey: never,
    wrapDataKey: never,
    unwrapDataKey: async () => Uint8Array.from(dataKey),
  };
}

/** The commitment known-answer set, which carries its data keys, and what it says about the derived keys. */
export interface CommitmentCase extends VectorCase {
  readonly dataKey: Buffer;
  /** Whether the commitment is that of the data key. */
  readonly commits: boolean;
  readonly commitment: Buffer;
  readonly messageId: Buffer;
  readonly contentEncryptionKey: Buffer | undefined;
}

export function commitmentSet(): CommitmentCase[] {
  const { tests } = readJson("esdk", "kat-commitment", "commitment-test-vectors.json");
  return (tests as Json[]).map((item) => {
    only(
      item,
      "ciphertext commitment content-encryption-key decrypted-dek exception frames footer header " +
        "encryption-context keyring-type message-id plaintext-frames status comment",
    );
    const dataKey = base64(item, "decrypted-dek");
    const refused = item.status === false && item.exception === "EXCEPTION: Invalid commitment";
    if (!refused && item.status !== true) throw new Error("unknown outcome");
    // Some are sealed under zeros, to be looked at by hand: as the answer of a keyring, zeros are refused.
    const code = dataKey.every((byte) => byte === 0)
      ? "KEY_SERVICE"
      : refused
        ? "AUTHENTICATION_FAILED"
        : undefined;
    const plaintext = Buffer.from(((item["plaintext-frames"] as string[] | undefined) ?? []).join(""));
    return {
      set: "kat-commitment",
      id: text(item, "comment"),
      message: base64(item, "ciphertext"),
      expected: code === undefined ? { plaintext } : { code },
      keyring: knownKey(dataKey),
      context: {},
      headerContext: record(item, "encryption-context"),
      needsPkcs1: false,
      dataKey,
      commits: !refused,
      commitment: base64(item, "commitment"),
      messageId: base64(item, "message-id"),
      contentEncryptionKey:
        item["content-encryption-key"] === undefined ? undefined : base64(item, "content-encryption-key"),
    };
  });
}

const rsaPaddings: Readonly<Record<string, RsaPadding>> = {
  sha1: "OAEP-SHA-1",
  sha256: "OAEP-SHA-256",
  sha384: "OAEP-SHA-384",
  sha512: "OAEP-SHA-512",
};

function rawKeyring(description: Json, keys: Json): Keyring {
  only(description, "type key provider-id encryption-algorithm padding-algorithm padding-hash");
  const key = keys[text(description, "key")] as Json;
  const name = { keyNamespace: text(description, "provider-id"), keyName: text(key, "key-id") };
  if (description["encryption-algorithm"] === "aes")
    return new RawAesKeyring({ ...name, wrappingKey: base64(key, "material") });
  const padding =
    description["padding-algorithm"] === "pkcs1" ? "PKCS1" : rsaPaddings[text(description, "padding-hash")];
  if (padding === undefined) throw new Error("unknown padding");
  const material = text(key, "material");
  return new RawRsaKeyring({
    ...name,
    padding,
    ...(key.type === "public" ? { publicKey: material } : { privateKey: material }),
  });
}

function dafnyKeyring(description: Json, keys: Json): Keyring {
  switch (description.type) {
    case "raw":
      return rawKeyring(description, keys);
    case "multi-keyring": {
      only(description, "type childKeyrings generator");
      return new MultiKeyring({
        ...(description.generator === undefined
          ? {}
          : { generator: dafnyKeyring(description.generator as Json, keys) }),
        children: (description.childKeyrings as Json[]).map((child) => dafnyKeyring(child, keys)),
      });
    }
    case "required-encryption-context-cmm":
      only(description, "type underlying requiredEncryptionContextKeys");
      return dafnyKeyring(description.underlying as Json, keys);
    case "raw-ecdh": {
      // Out of scope: all the raw keys of the set together must say that none of them is meant.
      const aes = ["aes-128", "aes-192", "aes-256"].map((key) =>
        rawKeyring(
          { key, "provider-id": text(description, "provider-id"), "encryption-algorithm": "aes" },
          keys,
        ),
      );
      return new MultiKeyring({ children: aes });
    }
    default:
      throw new Error(`unknown keyring ${String(description.type)}`);
  }
}

export function dafnySet(): VectorCase[] {
  const folder = "c-from-dafny-4.1.0";
  const { keys } = readJson("esdk", folder, "keys.json");
  const { tests } = readJson("esdk", folder, "decrypt-manifest.json");
  const path = (uri: string): string[] => uri.replace("file://", "").split("/");
  return Object.entries(tests as Readonly<Record<string, Json>>).map(([id, item]) => {
    only(item, "decryption-scenario");
    const scenario = item["decryption-scenario"] as Json;
    only(
      scenario,
      "type ciphertext result algorithmSuiteId frame-size description decryptKeyDescription reproduced-encryption-context",
    );
    if (scenario.type !== "positive-esdk") throw new Error("unknown outcome");
    const description = scenario.decryptKeyDescription as Json;
    const outOfScope = description.type === "raw-ecdh";
    return {
      set: outOfScope ? "c-from-dafny raw-ecdh" : folder,
      id,
      message: readVector("esdk", folder, ...path(text(scenario, "ciphertext"))),
      expected: outOfScope
        ? { code: "NO_DATA_KEY" }
        : { plaintext: readVector("esdk", folder, ...path(text(scenario, "result"))) },
      keyring: dafnyKeyring(description, keys as Json),
      context: record(scenario, "reproduced-encryption-context"),
      suite: Number.parseInt(text(scenario, "algorithmSuiteId"), 16),
      needsPkcs1: JSON.stringify(description).includes('"pkcs1"'),
    };
  });
}

export function cTestsSet(): VectorCase[] {
  const file = (name: string): Buffer => readVector("esdk", "c-tests-data", name);
  // They are wrapped under zeros, which no keyring of ours takes as a wrapping key.
  const named = (): Keyring => ({
    ...knownKey(Buffer.alloc(32)),
    unwrapDataKey: async ([key], { encryptionContext }) => {
      if (key === undefined) return null;
      const nonce = key.providerInfo.subarray(-12);
      const aad = encodeEncryptionContext(encryptionContext);
      return unwrapWithAesGcm(createSecretKey(Buffer.alloc(32)), nonce, aad, key.ciphertext);
    },
  });
  // And these are sealed under zeros, which nobody can have drawn: refused.
  const zero = (): Keyring => ({
    ...knownKey(Buffer.alloc(32)),
    unwrapDataKey: async (_, { suite }) => new Uint8Array(suite.keyLength),
  });
  const rows: [string, string | null, string, Keyring][] = [
    ["ct_good_commitment.bin", "good_commitment.pt", "", named()],
    ["ct_bad_commitment.bin", null, "AUTHENTICATION_FAILED", named()],
    ["ct_x_aes128_hkdf.bin", null, "KEY_SERVICE", zero()],
    ["ct_x_aes128_hkdf_bad_header.bin", null, "INVALID_HEADER", zero()],
    ["hello.bin", null, "KEY_SERVICE", zero()],
    ["hello.tinyframes.bin", null, "KEY_SERVICE", zero()],
  ];
  return rows.map(([id, plaintext, code, keyring]) => ({
    set: "c-tests-data",
    id,
    message: file(id),
    expected: plaintext === null ? { code } : { plaintext: file(plaintext) },
    keyring,
    context: {},
    needsPkcs1: false,
  }));
}

export function pythonSet(): VectorCase[] {
  const keys = readJson("esdk", "python-perf", "keys.json");
  const name = (key: Json) => ({ keyNamespace: text(key, "key-namespace"), keyName: text(key, "key-name") });
  const aes = keys["raw-aes"] as Json;
  const rsa = keys["raw-rsa"] as Json;
  const keyrings = {
    raw_aes: new RawAesKeyring({ ...name(aes), wrappingKey: base64(aes, "material-base64") }),
    raw_rsa: new RawRsaKeyring({
      ...name(rsa),
      privateKey: text(rsa, "private-pem"),
      padding: "OAEP-SHA-256",
    }),
  };
  return Object.entries(keyrings).flatMap(([kind, keyring]) =>
    ["empty", "small", "medium", "large"].map((size) => ({
      set: "python-perf",
      id: `${kind}-${size}`,
      message: readVector("esdk", "python-perf", `${kind}-${size}.ct`),
      expected: { plaintext: readVector("esdk", "python-perf", `plaintext-data-${size}.dat`) },
      keyring,
      context: {},
      suite: 0x0578,
      needsPkcs1: false,
    })),
  );
}

/** The first bytes of the AES-256-CTR keystream under zeros. */
function keystream(length: number): Buffer {
  return createCipheriv("aes-256-ctr", Buffer.alloc(32), Buffer.alloc(16)).update(Buffer.alloc(length));
}

export function javascriptSet(): VectorCase[] {
  const { keys, tests } = readJson("esdk", "js-5.0.2", "manifest.json");
  const material = keys as Readonly<Record<string, string>>;
  const oneKeyring = (key: Json): Keyring => {
    only(key, "type key-namespace key-name key padding hash");
    const name = { keyNamespace: text(key, "key-namespace"), keyName: text(key, "key-name") };
    const value = material[text(key, "key")] ?? "";
    if (key.type === "raw-aes")
      return new RawAesKeyring({ ...name, wrappingKey: Buffer.from(value, "base64") });
    const padding = rsaPaddings[text(key, "hash")];
    if (key.padding !== "oaep-mgf1" || padding === undefined) throw new Error("unknown padding");
    return new RawRsaKeyring({ ...name, privateKey: value, padding });
  };
  return (tests as Json[]).map((item) => {
    only(
      item,
      "id ciphertext suite frame-length plaintext-length encryption-context keys message-id js-roundtrip",
    );
    if (item["js-roundtrip"] !== true) throw new Error("unknown outcome");
    return {
      set: "js-5.0.2",
      id: text(item, "id"),
      message: readVector("esdk", "js-5.0.2", ...text(item, "ciphertext").split("/")),
      expected: { plaintext: keystream(item["plaintext-length"] as number) },
      keyring: new MultiKeyring({ children: (item.keys as Json[]).map(oneKeyring) }),
      context: record(item, "encryption-context"),
      headerContext: record(item, "encryption-context"),
      suite: Number.parseInt(text(item, "suite"), 16),
      needsPkcs1: false,
    };
  });
}

/** Headers of messages whose keys only AWS KMS has. */
export interface ParseOnlyCase {
  readonly id: string;
  readonly message: Buffer;
  readonly suite: number;
  readonly contentType: number;
  readonly frameLength: number;
  readonly contextKeys: readonly string[];
  readonly encryptedDataKeys: number;
}

export function parseOnlySet(): ParseOnlyCase[] {
  const items = readJson("esdk", "python-1.3.5-parse-only", "index.json") as unknown as Json[];
  return items.map((item) => {
    only(item, "file suite content-type frame-length ec-keys edks size");
    const message = readVector("esdk", "python-1.3.5-parse-only", text(item, "file"));
    if (message.length !== item.size) throw new Error("wrong size");
    return {
      id: text(item, "file"),
      message,
      suite: Number.parseInt(text(item, "suite"), 16),
      contentType: item["content-type"] as number,
      frameLength: item["frame-length"] as number,
      contextKeys: text(item, "ec-keys")
        .split(",")
        .filter((key) => key !== ""),
      encryptedDataKeys: item.edks as number,
    };
  });
}

/** All messages that can be tried without a key service. */
export function allSets(): VectorCase[] {
  return [...commitmentSet(), ...dafnySet(), ...cTestsSet(), ...pythonSet(), ...javascriptSet()];
}
