// A client-side master key of 128, 192 or 256 bits that wraps data keys with AES-GCM. The encryption context is AAD.
import { createCipheriv, createDecipheriv, createSecretKey, KeyObject, randomBytes } from "node:crypto";
import { allocateSecret, asBuffer, concatBytes, wipe } from "../bytes.ts";
import { FramesealError } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { type EncryptionContext, encodeEncryptionContext } from "../format/encryption-context.ts";
import { generateWith, randomDataKey } from "./data-key.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";
import { checkKeyName, checkMaterialDescription, registerWrappingKeys } from "./raw-key.ts";

const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const algorithms = new Map([
  [16, "aes-128-gcm"],
  [24, "aes-192-gcm"],
  [32, "aes-256-gcm"],
] as const);

/** Options of `RawAesKeyring`. */
export interface RawAesKeyringOptions {
  /** Which collection of keys this one belongs to; stored with every message. Not `aws-kms…`. */
  readonly keyNamespace: string;
  /** Which key it is; stored with every message. */
  readonly keyName: string;
  /** 16, 24 or 32 bytes, or a secret KeyObject of them. Bytes are copied; the caller may wipe them. */
  readonly wrappingKey: Uint8Array | KeyObject;
  /**
   * Stored with objects of the S3 Encryption Clients, which have no key names: it tells which of several keys wraps an
   * object. Not secret, not authenticated; by default empty. Messages do not carry it.
   */
  readonly materialDescription?: Readonly<Record<string, string>> | undefined;
  /**
   * `accept` also unwraps keys of messages by AWS's JavaScript SDK, which by default orders the encryption context by
   * locale before it wraps.
   */
  readonly localeSortedContext?: "refuse" | "accept" | undefined;
}

/**
 * Wraps data keys under one AES key. Each wrap draws a random nonce: wrap at most 2^32 data keys under one key
 * (SP 800-38D, 8.3).
 */
export class RawAesKeyring implements Keyring {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly #key: KeyObject;
  readonly #algorithm: "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm";
  readonly #localeSortedContext: "refuse" | "accept";

  /** @throws TypeError, RangeError */
  constructor(options: RawAesKeyringOptions) {
    checkKeyName(options);
    this.keyNamespace = options.keyNamespace;
    this.keyName = options.keyName;
    this.#key = secretKey(options.wrappingKey);
    const length = this.#key.symmetricKeySize ?? 0;
    const algorithm = algorithms.get(length as 16 | 24 | 32);
    if (algorithm === undefined)
      throw new RangeError(`"wrappingKey" expected 16, 24 or 32 bytes, got ${length}`);
    this.#algorithm = algorithm;
    this.#localeSortedContext = options.localeSortedContext ?? "refuse";
    registerWrappingKeys(this, {
      secretKey: this.#key,
      materialDescription: checkMaterialDescription(options.materialDescription),
    });
  }

  generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    return generateWith(this, randomDataKey(request.suite.keyLength), request);
  }

  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    const nonce = randomBytes(NONCE_LENGTH);
    if (nonce.every((byte) => byte === 0))
      throw new Error("internal error: the random generator does not work");
    const cipher = createCipheriv(this.#algorithm, this.#key, nonce, { authTagLength: TAG_LENGTH });
    cipher.setAAD(encodeEncryptionContext(request.encryptionContext));
    const ciphertext = concatBytes([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
    return [
      { providerId: this.keyNamespace, providerInfo: concatBytes([this.#infoPrefix(), nonce]), ciphertext },
    ];
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const prefix = this.#infoPrefix();
    let tried = 0;
    for (const { providerId, providerInfo, ciphertext } of encryptedDataKeys) {
      if (providerId !== this.keyNamespace || providerInfo.length !== prefix.length + NONCE_LENGTH) continue;
      if (!asBuffer(providerInfo.subarray(0, prefix.length)).equals(prefix)) continue;
      tried += 1;
      if (ciphertext.length !== request.suite.keyLength + TAG_LENGTH) continue;
      const nonce = providerInfo.subarray(prefix.length);
      for (const aad of this.#contextForms(request.encryptionContext)) {
        const dataKey = this.#open(nonce, aad, ciphertext);
        if (dataKey !== null) return dataKey;
      }
    }
    if (tried === 0) return null;
    throw new FramesealError(
      "NO_DATA_KEY",
      `key ${JSON.stringify(this.keyName)} of ${JSON.stringify(this.keyNamespace)} does not unwrap the data key: ` +
        "another key of the same name, another encryption context, or an altered message",
    );
  }

  // key name ‖ tag length in bits ‖ nonce length in bytes
  #infoPrefix(): Buffer {
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(TAG_LENGTH * 8, 0);
    lengths.writeUInt32BE(NONCE_LENGTH, 4);
    return Buffer.concat([Buffer.from(this.keyName, "utf8"), lengths]);
  }

  #contextForms(context: EncryptionContext): Uint8Array[] {
    const canonical = encodeEncryptionContext(context);
    if (this.#localeSortedContext === "refuse") return [canonical];
    return [canonical, encodeInLocaleOrder(context)];
  }

  #open(nonce: Uint8Array, aad: Uint8Array, ciphertext: Uint8Array): Uint8Array | null {
    const decipher = createDecipheriv(this.#algorithm, this.#key, nonce, { authTagLength: TAG_LENGTH });
    decipher.setAAD(aad);
    decipher.setAuthTag(ciphertext.subarray(ciphertext.length - TAG_LENGTH));
    const opened = decipher.update(ciphertext.subarray(0, ciphertext.length - TAG_LENGTH));
    try {
      decipher.final();
      const dataKey = allocateSecret(opened.length);
      dataKey.set(opened);
      return dataKey;
    } catch {
      return null;
    } finally {
      wipe(opened);
    }
  }
}

function secretKey(key: Uint8Array | KeyObject): KeyObject {
  if (key instanceof KeyObject) {
    if (key.type !== "secret")
      throw new TypeError(`"wrappingKey" expected a secret key, got a ${key.type} one`);
    return key;
  }
  if (!(key instanceof Uint8Array))
    throw new TypeError(`"wrappingKey" expected a Uint8Array or a KeyObject, got ${typeof key}`);
  return createSecretKey(key);
}

function encodeInLocaleOrder(context: EncryptionContext): Uint8Array {
  const parts: Uint8Array[] = [];
  const keys = Object.keys(context).sort((a, b) => a.localeCompare(b));
  if (keys.length === 0) return new Uint8Array(0);
  parts.push(Buffer.of(keys.length >> 8, keys.length & 0xff));
  for (const key of keys)
    for (const text of [key, context[key] ?? ""]) {
      const bytes = Buffer.from(text, "utf8");
      parts.push(Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes);
    }
  return concatBytes(parts);
}
