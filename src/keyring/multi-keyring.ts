// Several keyrings as one: any of them can open what all of them have wrapped.
import { wipe } from "../bytes.ts";
import { type Checks, checkOptions, listOf } from "../check-options.ts";
import { allCauses, FramesealError, hasCode, throwIfAborted } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { type DataKeyRequest, type GeneratedDataKey, type Keyring, keyringOption } from "./keyring.ts";
import { takeGeneratedKey, takeUnwrappedKey, takeWrappedKeys } from "./take-data-key.ts";

/** Options of `MultiKeyring`; at least one keyring is needed. */
export interface MultiKeyringOptions {
  /** Makes the data key. Without it, this keyring only opens. */
  readonly generator?: Keyring | undefined;
  /** Wrap the data key too. */
  readonly children?: readonly Keyring[] | undefined;
}

/** What the options must be. */
export const MULTI_KEYRING_OPTIONS: Checks<MultiKeyringOptions> = {
  generator: keyringOption,
  children: listOf(keyringOption),
};

/** Wraps a data key with all of its keyrings and unwraps with the first that can. */
export class MultiKeyring implements Keyring {
  readonly generator: Keyring | undefined;
  readonly children: readonly Keyring[];

  /** @throws TypeError without any keyring */
  constructor(options: MultiKeyringOptions) {
    const { generator, children = [] } = checkOptions("options", options, MULTI_KEYRING_OPTIONS);
    if (generator === undefined && children.length === 0)
      throw new TypeError('"generator" or "children" expected a keyring, got none');
    this.generator = generator;
    this.children = Object.freeze(children);
  }

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    if (this.generator === undefined)
      throw new FramesealError("NO_DATA_KEY", "multi-keyring has no generator: it can only decrypt");
    const { dataKey, encryptedDataKeys } = await takeGeneratedKey(this.generator, request, 0);
    try {
      const wrapped = [...encryptedDataKeys];
      for (const child of this.children) wrapped.push(...(await takeWrappedKeys(child, dataKey, request)));
      return { dataKey, encryptedDataKeys: wrapped };
    } catch (error) {
      wipe(dataKey);
      throw error;
    }
  }

  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    const wrapped: EncryptedDataKey[] = [];
    for (const keyring of this.#all()) wrapped.push(...(await takeWrappedKeys(keyring, dataKey, request)));
    return wrapped;
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const causes: unknown[] = [];
    for (const keyring of this.#all()) {
      throwIfAborted(request.signal);
      try {
        const dataKey = await takeUnwrappedKey(keyring, encryptedDataKeys, request);
        if (dataKey !== null) return dataKey;
      } catch (error) {
        if (hasCode(error, "ABORTED")) throw error;
        causes.push(error);
      }
    }
    if (causes.length === 0) return null;
    // What a service did not do, it may do another time.
    const service = causes.some((cause) => hasCode(cause, "KEY_SERVICE"));
    const cause = allCauses(causes);
    throw new FramesealError(
      service ? "KEY_SERVICE" : "NO_DATA_KEY",
      `no keyring could unwrap a data key of this message: ${cause.message}`,
      { cause },
    );
  }

  recordUse(request: DataKeyRequest, plaintextLength: number): void {
    for (const keyring of this.#all()) keyring.recordUse?.(request, plaintextLength);
  }

  #all(): readonly Keyring[] {
    return this.generator === undefined ? this.children : [this.generator, ...this.children];
  }
}
