// Why keyrings passed over encrypted data keys. Passing over is no error, as long as another keyring has a key; when
// none has, these reasons are all that tells the user what to change. Headers of others decide how many there are and
// how long the names in them, so only the first few are kept.
import { asBuffer } from "../bytes.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { list, quote, shorten } from "../quote.ts";
import { rawAesKeyName } from "./raw-aes-info.ts";

/** Where a keyring may tell why it passes over a key, before its `unwrapDataKey` returns null. */
export interface SkippedKeys {
  /** How many times a reason was given. */
  readonly count: number;
  /**
   * @param reason in one line, such as `Vault keyring "backup": another key name`. It is shown, cut if it is long.
   * @param key which one is passed over: its names are shown
   */
  add(reason: string, key?: EncryptedDataKey): void;
}

/** One reason, with the first keys that it is for. */
interface Reason {
  readonly text: string;
  readonly keys: EncryptedDataKey[];
  count: number;
}

const MAX_REASONS = 16;
const MAX_REASON_LENGTH = 300;
const MAX_KEYS = 2;
const MAX_LIST_LENGTH = 1700;
const MAX_NAME_LENGTH = 100;

/** Collects the reasons of one message. */
export class SkipList implements SkippedKeys {
  #count = 0;
  readonly #reasons = new Map<string, Reason>();

  get count(): number {
    return this.#count;
  }

  add(reason: string, key?: EncryptedDataKey): void {
    this.#count += 1;
    let known = this.#reasons.get(reason);
    if (known === undefined) {
      if (this.#reasons.size === MAX_REASONS) return;
      known = { text: shorten(String(reason), MAX_REASON_LENGTH), keys: [], count: 0 };
      this.#reasons.set(reason, known);
    }
    known.count += 1;
    if (key !== undefined && known.keys.length < MAX_KEYS) known.keys.push(key);
  }

  /** The reasons that were kept, each with the keys that it is for. */
  get texts(): readonly string[] {
    return [...this.#reasons.values()].map(({ text, keys, count }) => {
      const more = count - keys.length;
      if (keys.length === 0) return text;
      return `${text} (${keys.map(describeKey).join(", ")}${more > 0 ? ` and ${more} more` : ""})`;
    });
  }

  /** All of it in one line. */
  toString(): string {
    let untold = this.#count;
    for (const { count } of this.#reasons.values()) untold -= count;
    return list(this.texts, MAX_LIST_LENGTH, this.#reasons.size + untold);
  }

  /** Tells another list what this one was told, as far as it was kept. */
  copyTo(other: SkippedKeys): void {
    for (const { text, keys, count } of this.#reasons.values())
      for (let i = 0; i < count; i++) other.add(text, keys[i]);
  }
}

/** The names of an encrypted data key, as they can be shown. */
function describeKey({ providerId, providerInfo }: EncryptedDataKey): string {
  const name = rawAesKeyName(providerInfo) ?? asBuffer(providerInfo).toString("utf8");
  return `${quote(name, MAX_NAME_LENGTH)} of ${quote(providerId, MAX_NAME_LENGTH)}`;
}
