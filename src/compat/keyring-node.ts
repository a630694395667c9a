// The peer's way of writing keyrings: a class that fills in "materials". Both directions: classes of users who extend
// KeyringNode work here, and our keyrings can be called in the peer's way.
import { createSecretKey, type KeyObject } from "node:crypto";
import { asBuffer, copySecret, wipe } from "../bytes.ts";
import { bytes, type Check, type Checks, checkKnownOptions, needed, wrong } from "../check-options.ts";
import type { EncryptedDataKey as Edk } from "../format/encrypted-data-key.ts";
import type { EncryptionContext } from "../format/encryption-context.ts";
import { suiteById } from "../format/suite.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "../keyring/keyring.ts";
import {
  copyDataKey,
  takeDataKey,
  takeGeneratedKey,
  takeUnwrappedKey,
  takeWrappedKeys,
} from "../keyring/take-data-key.ts";
import { isBytes, isKeyObject } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";
import { needs } from "./helpers.ts";
import { AlgorithmSuiteIdentifier, getCompatibleCommitmentPolicy } from "./suites.ts";

/** What an `EncryptedDataKey` is made of. */
export interface EncryptedDataKeyInput {
  readonly providerId: string;
  readonly providerInfo: string;
  readonly encryptedDataKey: Uint8Array;
  readonly rawInfo?: Uint8Array | undefined;
}
const anyText: Check = (name, value) => {
  if (typeof value !== "string") throw wrong(name, "a string", value);
  return value;
};
const KEY_INPUT: Checks<EncryptedDataKeyInput> = {
  providerId: needed(anyText),
  providerInfo: needed(anyText),
  encryptedDataKey: needed(bytes),
  rawInfo: bytes,
};

/** A wrapped data key as the peer shows it. */
export class EncryptedDataKey {
  readonly providerId: string;
  /** Text of the provider info; `rawInfo` has its bytes. */
  readonly providerInfo: string;
  readonly encryptedDataKey: Uint8Array;
  readonly rawInfo: Uint8Array;

  /** @throws TypeError */
  constructor(givenInput: EncryptedDataKeyInput) {
    const input = checkKnownOptions("input", givenInput, KEY_INPUT);
    this.providerId = input.providerId;
    this.providerInfo = input.providerInfo;
    this.encryptedDataKey = input.encryptedDataKey;
    this.rawInfo = input.rawInfo ?? Buffer.from(input.providerInfo, "utf8");
    Object.freeze(this);
  }
}

/** One of our entries in the peer's shape. */
export function toPeerKey({ providerId, providerInfo, ciphertext }: Edk): EncryptedDataKey {
  return new EncryptedDataKey({
    providerId,
    providerInfo: asBuffer(providerInfo).toString("utf8"),
    encryptedDataKey: new Uint8Array(ciphertext),
    rawInfo: new Uint8Array(providerInfo),
  });
}
// With the peer, `rawInfo` may be missing.
function fromPeerKey(key: EncryptedDataKey): Edk {
  const { providerId, providerInfo, encryptedDataKey } = key;
  const rawInfo = (key as Partial<EncryptedDataKey>).rawInfo ?? Buffer.from(providerInfo, "utf8");
  return { providerId, providerInfo: rawInfo, ciphertext: encryptedDataKey };
}

/** What a keyring is told of the suite. */
export class NodeAlgorithmSuite {
  readonly id: number;
  readonly name: string;
  /** Bits. */
  readonly keyLength: number;
  readonly keyLengthBytes: number;

  /** @throws FramesealError UNSUPPORTED for an id that is no suite */
  constructor(id: number) {
    this.id = id;
    this.keyLengthBytes = suiteById(id).keyLength;
    this.keyLength = this.keyLengthBytes * 8;
    this.name = AlgorithmSuiteIdentifier[id] ?? "";
    Object.freeze(this);
  }
}

/** A note of what a keyring did. */
export interface KeyringTrace {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly flags: number;
}

class Material {
  readonly suite: NodeAlgorithmSuite;
  readonly encryptionContext: EncryptionContext;
  readonly keyringTrace: KeyringTrace[] = [];
  #dataKey: Uint8Array | undefined;
  #wasSet = false;

  constructor(suite: Pick<NodeAlgorithmSuite, "id">, encryptionContext: EncryptionContext) {
    this.suite = new NodeAlgorithmSuite(suite.id);
    this.encryptionContext = Object.freeze({ ...encryptionContext });
  }
  get hasUnencryptedDataKey(): boolean {
    return this.#dataKey !== undefined;
  }
  hasValidKey(): boolean {
    return this.hasUnencryptedDataKey;
  }
  /**
   * Copies the key. It can be set once.
   * @throws FramesealError KEY_SERVICE for a key that the suite cannot use
   */
  setUnencryptedDataKey(dataKey: Uint8Array | KeyObject, trace?: KeyringTrace): this {
    needs(!this.#wasSet, "unencryptedDataKey has already been set");
    const { keyLengthBytes } = this.suite;
    // The bytes of a key object are a copy already.
    this.#dataKey = isKeyObject(dataKey)
      ? takeDataKey(dataKey.export(), keyLengthBytes)
      : copyDataKey(dataKey, keyLengthBytes);
    this.#wasSet = true;
    if (trace !== undefined) this.keyringTrace.push(trace);
    return this;
  }
  /** As KeyObject, like the peer; `unwrapDataKey` gives its bytes. */
  getUnencryptedDataKey(): KeyObject {
    needs(this.#dataKey !== undefined, "unencryptedDataKey has not been set");
    return createSecretKey(this.#dataKey);
  }
  zeroUnencryptedDataKey(): this {
    wipe(this.takeDataKey());
    return this;
  }
  /** The bytes of the key, which the receiver wipes: a KeyObject keeps a copy until it is collected. Not a method of the peer. */
  copyDataKey(): Uint8Array {
    needs(this.#dataKey !== undefined, "unencryptedDataKey has not been set");
    return copySecret(this.#dataKey);
  }
  /** Takes the key out; the receiver wipes it. Not a method of the peer. */
  takeDataKey(): Uint8Array | undefined {
    const dataKey = this.#dataKey;
    this.#dataKey = undefined;
    return dataKey;
  }
}

/** What `_onEncrypt` fills in. */
export class NodeEncryptionMaterial extends Material {
  readonly encryptedDataKeys: EncryptedDataKey[] = [];
  addEncryptedDataKey(key: EncryptedDataKey, _flags?: number): this {
    this.encryptedDataKeys.push(key);
    return this;
  }
}
/** What `_onDecrypt` fills in. */
export class NodeDecryptionMaterial extends Material {}

/** The bytes of a data key. */
export function unwrapDataKey(dataKey: Uint8Array | KeyObject): Uint8Array {
  return isBytes(dataKey) ? dataKey : dataKey.export();
}

/** What the message asked, where a material was made for one of our messages. */
const requests = new WeakMap<Material, DataKeyRequest>();

/** Of a keyring that fills in its material when nobody waits for it any more. */
function wipeLate(material: Material): void {
  material.zeroUnencryptedDataKey();
}

/** Extend it and write `_onEncrypt` and `_onDecrypt`, as with the peer. */
export abstract class KeyringNode implements Keyring {
  abstract _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial>;
  abstract _onDecrypt(
    material: NodeDecryptionMaterial,
    encryptedDataKeys: EncryptedDataKey[],
  ): Promise<NodeDecryptionMaterial>;

  async onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    needs((await this._onEncrypt(material)) === material, "_onEncrypt must return the material it was given");
    return material;
  }
  /** Materials that hold a key already are returned as they are. */
  async onDecrypt(
    material: NodeDecryptionMaterial,
    encryptedDataKeys: EncryptedDataKey[],
  ): Promise<NodeDecryptionMaterial> {
    if (material.hasUnencryptedDataKey) return material;
    const returned = await this._onDecrypt(material, encryptedDataKeys);
    needs(returned === material, "_onDecrypt must return the material it was given");
    return material;
  }

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    const material = new NodeEncryptionMaterial(request.suite, request.encryptionContext);
    requests.set(material, request);
    try {
      await untilAborted(this.onEncrypt(material), request.signal, wipeLate);
      const dataKey = material.takeDataKey();
      needs(dataKey !== undefined, "keyring has set no data key");
      return { dataKey, encryptedDataKeys: material.encryptedDataKeys.map(fromPeerKey) };
    } finally {
      material.zeroUnencryptedDataKey();
    }
  }
  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly Edk[]> {
    const material = new NodeEncryptionMaterial(request.suite, request.encryptionContext);
    requests.set(material, request);
    try {
      await untilAborted(this.onEncrypt(material.setUnencryptedDataKey(dataKey)), request.signal);
      return material.encryptedDataKeys.map(fromPeerKey);
    } finally {
      material.zeroUnencryptedDataKey();
    }
  }
  async unwrapDataKey(
    encryptedDataKeys: readonly Edk[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const material = new NodeDecryptionMaterial(request.suite, request.encryptionContext);
    requests.set(material, request);
    try {
      await untilAborted(
        this.onDecrypt(material, encryptedDataKeys.map(toPeerKey)),
        request.signal,
        wipeLate,
      );
      return material.takeDataKey() ?? null;
    } finally {
      material.zeroUnencryptedDataKey();
    }
  }
}

/** One of our keyrings in the peer's shape. */
export class WrappedKeyring extends KeyringNode {
  readonly #keyring: Keyring;

  constructor(keyring: Keyring) {
    super();
    this.#keyring = keyring;
  }

  async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    const request = requestFor(material);
    if (material.hasUnencryptedDataKey) {
      const dataKey = material.copyDataKey();
      try {
        for (const key of await this.wrapDataKey(dataKey, request))
          material.addEncryptedDataKey(toPeerKey(key));
      } finally {
        wipe(dataKey);
      }
      return material;
    }
    const { dataKey, encryptedDataKeys } = await this.generateDataKey(request);
    try {
      material.setUnencryptedDataKey(dataKey);
    } finally {
      wipe(dataKey);
    }
    for (const key of encryptedDataKeys) material.addEncryptedDataKey(toPeerKey(key));
    return material;
  }
  async _onDecrypt(
    material: NodeDecryptionMaterial,
    encryptedDataKeys: EncryptedDataKey[],
  ): Promise<NodeDecryptionMaterial> {
    const dataKey = await this.unwrapDataKey(encryptedDataKeys.map(fromPeerKey), requestFor(material));
    if (dataKey === null) return material;
    try {
      return material.setUnencryptedDataKey(dataKey);
    } finally {
      wipe(dataKey);
    }
  }

  // Called by our own messages: no detour through materials.
  override generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    return takeGeneratedKey(this.#keyring, request);
  }
  override wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly Edk[]> {
    return takeWrappedKeys(this.#keyring, dataKey, request);
  }
  override unwrapDataKey(
    encryptedDataKeys: readonly Edk[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    return takeUnwrappedKey(this.#keyring, encryptedDataKeys, request);
  }
  recordUse(request: DataKeyRequest, plaintextLength: number): void {
    this.#keyring.recordUse?.(request, plaintextLength);
  }
}

function requestFor(material: Material): DataKeyRequest {
  const { suite, encryptionContext } = material;
  const asked = requests.get(material);
  if (asked !== undefined) return asked;
  const commitmentPolicy = getCompatibleCommitmentPolicy(suite.id);
  return { suite: suiteById(suite.id), commitmentPolicy, encryptionContext };
}
