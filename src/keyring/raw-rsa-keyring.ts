// A client-side RSA key pair that wraps data keys. Whoever has the public key can write messages that open under the
// private one: RSA wrapping gives confidentiality, not origin.
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from "node:crypto";
import { asBuffer, copySecret, wipe } from "../bytes.ts";
import { type Check, type Checks, checkOptions, needed, oneOf, pairs, wrong } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { errorCode, isBytes, isKeyObject } from "../shapes.ts";
import { generateWith, randomDataKey } from "./data-key.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";
import { rawAesKeyName } from "./raw-aes-info.ts";
import {
  describeKeyring,
  keyNameOption,
  keyNamespaceOption,
  NO_DESCRIPTION,
  registerWrappingKeys,
} from "./raw-key.ts";

/** OAEP uses the named hash for MGF1 too. PKCS1 is for old messages: the platform may refuse to unwrap it. */
export type RsaPadding = "OAEP-SHA-1" | "OAEP-SHA-256" | "OAEP-SHA-384" | "OAEP-SHA-512" | "PKCS1";

const oaepHashes: Readonly<Record<Exclude<RsaPadding, "PKCS1">, string>> = {
  "OAEP-SHA-1": "sha1",
  "OAEP-SHA-256": "sha256",
  "OAEP-SHA-384": "sha384",
  "OAEP-SHA-512": "sha512",
};
const MIN_MODULUS_BITS = 2048;

/** Options of `RawRsaKeyring`; at least one of the two keys is needed. */
export interface RawRsaKeyringOptions {
  readonly keyNamespace: string;
  readonly keyName: string;
  /** Wraps. PEM (SPKI or PKCS#1), its bytes, or a KeyObject. Never derived from the private key. */
  readonly publicKey?: string | Uint8Array | KeyObject | undefined;
  /** Unwraps. PEM (PKCS#8 or PKCS#1), its bytes, or a KeyObject. */
  readonly privateKey?: string | Uint8Array | KeyObject | undefined;
  readonly padding: RsaPadding;
  /**
   * Stored with objects of the S3 Encryption Clients, which have no key names: it tells which of several keys wraps an
   * object. Not secret, not authenticated; by default empty. Messages do not carry it.
   */
  readonly materialDescription?: Readonly<Record<string, string>> | undefined;
}

export const rsaPaddingOption: Check = oneOf(...Object.keys(oaepHashes), "PKCS1");
/** What the options must be. */
const OPTIONS: Checks<RawRsaKeyringOptions> = {
  keyNamespace: needed(keyNamespaceOption),
  keyName: needed(keyNameOption),
  publicKey: (_, key) => parseKey(key, "public"),
  privateKey: (_, key) => parseKey(key, "private"),
  padding: needed(rsaPaddingOption),
  materialDescription: pairs,
};

/** Wraps data keys under an RSA public key. */
export class RawRsaKeyring implements Keyring {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly padding: RsaPadding;
  readonly #publicKey: KeyObject | undefined;
  readonly #privateKey: KeyObject | undefined;

  /** @throws TypeError, RangeError */
  constructor(givenOptions: RawRsaKeyringOptions) {
    const options = checkOptions("options", givenOptions, OPTIONS);
    this.keyNamespace = options.keyNamespace;
    this.keyName = options.keyName;
    this.padding = options.padding;
    // The checks have parsed them.
    this.#publicKey = options.publicKey as KeyObject | undefined;
    this.#privateKey = options.privateKey as KeyObject | undefined;
    if (this.#publicKey === undefined && this.#privateKey === undefined)
      throw new TypeError('"publicKey" or "privateKey" expected, got neither');
    registerWrappingKeys(this, {
      ...(this.#publicKey === undefined ? {} : { publicKey: this.#publicKey }),
      ...(this.#privateKey === undefined ? {} : { privateKey: this.#privateKey }),
      materialDescription: options.materialDescription ?? NO_DESCRIPTION,
    });
  }

  generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    return generateWith(this, randomDataKey(request.suite.keyLength), request);
  }

  async wrapDataKey(dataKey: Uint8Array): Promise<readonly EncryptedDataKey[]> {
    if (this.#publicKey === undefined)
      throw new FramesealError(
        "NO_DATA_KEY",
        `${describeKeyring("RSA", this)} has no public key: it can only decrypt`,
      );
    const ciphertext = publicEncrypt({ key: this.#publicKey, ...this.#paddingOptions() }, dataKey);
    return [
      {
        providerId: this.keyNamespace,
        providerInfo: new Uint8Array(Buffer.from(this.keyName, "utf8")),
        ciphertext,
      },
    ];
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const name = Buffer.from(this.keyName, "utf8");
    const self = (): string => describeKeyring("RSA", this);
    let tried = 0;
    for (const key of encryptedDataKeys) {
      const why = this.#whyNot(key, name);
      if (why !== undefined || this.#privateKey === undefined) {
        request.skipped?.add(`${self()}: ${why ?? "it has no private key"}`, key);
        continue;
      }
      tried += 1;
      const dataKey = this.#unwrap(this.#privateKey, key.ciphertext, request.suite.keyLength);
      if (dataKey !== null) return dataKey;
    }
    if (tried === 0) return null;
    throw new FramesealError(
      "NO_DATA_KEY",
      `${self()} (${this.padding}) does not unwrap the data key: ` +
        "another key of the same name, another padding, or an altered message",
    );
  }

  // Why an entry is not addressed to this keyring.
  #whyNot({ providerId, providerInfo }: EncryptedDataKey, name: Buffer): string | undefined {
    if (providerId !== this.keyNamespace) return "another key namespace";
    if (asBuffer(providerInfo).equals(name)) return undefined;
    return rawAesKeyName(providerInfo) === this.keyName
      ? "wrapped with an AES key of this name"
      : "another key name";
  }

  #unwrap(privateKey: KeyObject, ciphertext: Uint8Array, keyLength: number): Uint8Array | null {
    let opened: Buffer;
    try {
      opened = privateDecrypt({ key: privateKey, ...this.#paddingOptions() }, ciphertext);
    } catch (error) {
      // Node without implicit rejection refuses this padding altogether (CVE-2023-46809).
      if (this.padding === "PKCS1" && errorCode(error) === "ERR_INVALID_ARG_VALUE")
        throw new FramesealError(
          "UNSUPPORTED",
          "this platform refuses to unwrap RSA keys with PKCS#1 v1.5 padding",
          {
            cause: error,
          },
        );
      return null;
    }
    try {
      if (opened.length !== keyLength) return null;
      return copySecret(opened);
    } finally {
      wipe(opened);
    }
  }

  #paddingOptions(): { padding: number; oaepHash?: string } {
    if (this.padding === "PKCS1") return { padding: constants.RSA_PKCS1_PADDING };
    return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: oaepHashes[this.padding] };
  }
}

function parseKey(key: unknown, type: "public" | "private"): KeyObject {
  const name = `${type}Key`;
  let parsed: KeyObject;
  if (isKeyObject(key)) {
    parsed = key;
  } else {
    if (typeof key !== "string" && !isBytes(key)) throw wrong(name, "PEM or a KeyObject", key);
    const pem = typeof key === "string" ? key : asBuffer(key);
    try {
      parsed = type === "public" ? createPublicKey(pem) : createPrivateKey(pem);
    } catch (cause) {
      throw new TypeError(`"${name}" expected an RSA key in PEM`, { cause });
    }
    if (type === "public" && /PRIVATE KEY/.test(pem.toString("latin1")))
      throw new TypeError('"publicKey" expected a public key, got a private one');
  }
  if (parsed.type !== type) throw new TypeError(`"${name}" expected a ${type} key, got a ${parsed.type} one`);
  if (parsed.asymmetricKeyType !== "rsa")
    throw new TypeError(`"${name}" expected an RSA key, got ${parsed.asymmetricKeyType}`);
  const bits = parsed.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < MIN_MODULUS_BITS)
    throw new RangeError(`"${name}" expected at least ${MIN_MODULUS_BITS} bits, got ${bits}`);
  return parsed;
}
