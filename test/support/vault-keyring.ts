// An example of a keyring of one's own: data keys are made and unwrapped by the transit engine of HashiCorp Vault.
import {
  type DataKeyRequest,
  type EncryptedDataKey,
  FramesealError,
  type GeneratedDataKey,
  type Keyring,
} from "../../src/index.ts";

/** Options of `VaultKeyring`. */
export interface VaultKeyringOptions {
  /** Such as `https://vault.example:8200`. */
  readonly address: string;
  readonly token: string;
  /** Name of a transit key of type aes256-gcm96. */
  readonly keyName: string;
}

const PROVIDER = "vault-transit";

/** The encryption context is the associated data, in an order that is always the same. */
export class VaultKeyring implements Keyring {
  readonly #options: VaultKeyringOptions;

  constructor(options: VaultKeyringOptions) {
    this.#options = options;
  }

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    const dataKey = crypto.getRandomValues(new Uint8Array(request.suite.keyLength));
    try {
      return { dataKey, encryptedDataKeys: await this.wrapDataKey(dataKey, request) };
    } catch (error) {
      dataKey.fill(0);
      throw error;
    }
  }

  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    const { ciphertext = "" } = await this.#call("encrypt", request, {
      plaintext: Buffer.from(dataKey).toString("base64"),
    });
    return [
      {
        providerId: PROVIDER,
        providerInfo: Buffer.from(this.#options.keyName),
        ciphertext: Buffer.from(ciphertext),
      },
    ];
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const mine = encryptedDataKeys.filter((key) => {
      const { providerId, providerInfo } = key;
      const isMine =
        providerId === PROVIDER && Buffer.from(providerInfo).toString() === this.#options.keyName;
      if (!isMine) request.skipped?.add(`Vault key ${this.#options.keyName}: another key`, key);
      return isMine;
    });
    if (mine.length === 0) return null;
    let failure: unknown;
    for (const { ciphertext } of mine)
      try {
        const { plaintext = "" } = await this.#call("decrypt", request, {
          ciphertext: Buffer.from(ciphertext).toString("latin1"),
        });
        const dataKey = Uint8Array.from(Buffer.from(plaintext, "base64"));
        if (dataKey.length === request.suite.keyLength) return dataKey;
      } catch (error) {
        failure = error;
      }
    throw new FramesealError("NO_DATA_KEY", "Vault does not unwrap the data key", { cause: failure });
  }

  async #call(
    operation: "encrypt" | "decrypt",
    { encryptionContext, signal }: DataKeyRequest,
    body: Record<string, string>,
  ): Promise<{ readonly plaintext?: string; readonly ciphertext?: string }> {
    const { address, token, keyName } = this.#options;
    const pairs = Object.entries(encryptionContext).sort(([a], [b]) => (a < b ? -1 : 1));
    const associated_data = Buffer.from(JSON.stringify(pairs)).toString("base64");
    const response = await fetch(`${address}/v1/transit/${operation}/${encodeURIComponent(keyName)}`, {
      method: "POST",
      headers: { "x-vault-token": token, "content-type": "application/json" },
      body: JSON.stringify({ ...body, associated_data }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (!response.ok)
      throw new FramesealError("KEY_SERVICE", `Vault could not ${operation}: status ${response.status}`);
    return ((await response.json()) as { data: { plaintext?: string; ciphertext?: string } }).data;
  }
}
