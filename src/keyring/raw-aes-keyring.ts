// A client-side master key of 128, 192 or 256 bits that wraps data keys with AES-GCM. The encryption context is AAD.
import { createSecretKey, type KeyObject } from "node:crypto";
import { asBuffer, concatBytes } from "../bytes.ts";
import { type Checks, checkOptions, needed, oneOf, pairs, wrong } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { type EncryptionContext, encodeEncryptionContext } from "../format/encryption-context.ts";
import { isBytes, isKeyObject } from "../shapes.ts";
import { unwrapWithAesGcm, WRAP_NONCE_LENGTH, WRAP_TAG_LENGTH, wrapWithAesGcm } from "./aes-gcm-wrap.ts";
import { generateWith, randomDataKey } from "./data-key.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";
import { rawAesInfoPrefix, rawAesKeyName } from "./raw-aes-info.ts";
import {
  checkSecret,
  describeKeyring,
  keyNameOption,
  keyNamespaceOption,
  NO_DESCRIPTION,
  registerWrappingKeys,
} from "./raw-key.ts";

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

/** What the options must be. */
const OPTIONS: Checks<RawAesKeyringOptions> = {
  keyNamespace: needed(keyNamespaceOption),
  keyName: needed(keyNameOption),
  wrappingKey: needed(secretKey),
  materialDescription: pairs,
  localeSortedContext: oneOf("refuse", "accept"),
};

/**
 * Wraps data keys under one AES key. Each wrap draws a random nonce: wrap at most 2^32 data keys under one key
 * (SP 800-38D, 8.3).
 */
export class RawAesKeyring implements Keyring {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly #key: KeyObject;
  readonly #localeSortedContext: "refuse" | "accept";

  /** @throws TypeError, RangeError */
  constructor(givenOptions: RawAesKeyringOptions) {
    const options = checkOptions("options", givenOptions, OPTIONS);
    this.keyNamespace = options.keyNamespace;
    this.keyName = options.keyName;
    this.#key = options.wrappingKey as KeyObject; // the check has made it one
    checkSecret("wrappingKey", this.#key);
    this.#localeSortedContext = options.localeSortedContext ?? "refuse";
    registerWrappingKeys(this, {
      secretKey: this.#key,
      materialDescription: options.materialDescription ?? NO_DESCRIPTION,
    });
  }

  generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    return generateWith(this, randomDataKey(request.suite.keyLength), request);
  }

  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    const aad = encodeEncryptionContext(request.encryptionContext);
    const { nonce, sealed } = wrapWithAesGcm(this.#key, aad, dataKey);
    const providerInfo = concatBytes([rawAesInfoPrefix(this.keyName), nonce]);
    return [{ providerId: this.keyNamespace, providerInfo, ciphertext: sealed }];
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const prefix = rawAesInfoPrefix(this.keyName);
    const self = (): string => describeKeyring("AES", this);
    let tried = 0;
    for (const key of encryptedDataKeys) {
      const { providerInfo, ciphertext } = key;
      const why = this.#whyNot(key, prefix);
      if (why !== undefined) {
        request.skipped?.add(`${self()}: ${why}`, key);
        continue;
      }
      tried += 1;
      if (ciphertext.length !== request.suite.keyLength + WRAP_TAG_LENGTH) continue;
      const nonce = providerInfo.subarray(prefix.length);
      for (const aad of this.#contextForms(request.encryptionContext)) {
        const dataKey = unwrapWithAesGcm(this.#key, nonce, aad, ciphertext);
        if (dataKey !== null) return dataKey;
      }
    }
    if (tried === 0) return null;
    throw new FramesealError(
      "NO_DATA_KEY",
      `${self()} does not unwrap the data key: ` +
        "another key of the same name, another encryption context, or an altered message",
    );
  }

  // Why an entry is not addressed to this keyring.
  #whyNot({ providerId, providerInfo }: EncryptedDataKey, prefix: Buffer): string | undefined {
    if (providerId !== this.keyNamespace) return "another key namespace";
    const info = asBuffer(providerInfo);
    if (info.length === prefix.length + WRAP_NONCE_LENGTH && info.indexOf(prefix) === 0) return undefined;
    if (info.equals(Buffer.from(this.keyName, "utf8"))) return "wrapped with an RSA key of this name";
    return rawAesKeyName(info) === undefined ? "malformed provider info" : "another key name";
  }

  #contextForms(context: EncryptionContext): Uint8Array[] {
    const canonical = encodeEncryptionContext(context);
    if (this.#localeSortedContext === "refuse") return [canonical];
    return [canonical, encodeInLocaleOrder(context)];
  }
}

function secretKey(name: string, given: unknown): KeyObject {
  if (!isKeyObject(given) && !isBytes(given)) throw wrong(name, "a Uint8Array or a KeyObject", given);
  const key = isKeyObject(given) ? given : createSecretKey(given);
  if (key.type !== "secret") throw new TypeError(`"${name}" expected a secret key, got a ${key.type} one`);
  const length = key.symmetricKeySize ?? 0;
  if (length !== 16 && length !== 24 && length !== 32)
    throw new RangeError(`"${name}" expected 16, 24 or 32 bytes, got ${length}`);
  return key;
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
