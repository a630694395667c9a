// Notes which secrets an operation makes, without keeping any: each is written down XORed with a mask, and only the process
// that made the mask can read it. Random bytes are seen where they are drawn.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

const DATA_KEY_LENGTH = 32;
/** Of message ids and IVs, which are public. */
const ID_LENGTHS = new Set([12, 16, 28, 32]);

/** What one operation drew. */
export interface Noted {
  /** Masked, in hex. */
  readonly dataKeys: string[];
  /** In hex. */
  readonly messageIds: string[];
}

export class Watch {
  readonly #mask: Uint8Array;
  #noted: Noted = { dataKeys: [], messageIds: [] };

  /** @param mask as long as a data key */
  constructor(mask: Uint8Array) {
    this.#mask = mask;
    const { randomFillSync, randomBytes } = crypto;
    crypto.randomFillSync = ((target: Uint8Array, ...rest: []) => {
      randomFillSync(target, ...rest);
      if (target.length === DATA_KEY_LENGTH) this.noteDataKey(target);
      return target;
    }) as typeof randomFillSync;
    crypto.randomBytes = ((length: number, ...rest: []) => {
      const bytes = randomBytes(length, ...rest);
      if (ID_LENGTHS.has(length)) this.#noted.messageIds.push(bytes.toString("hex"));
      return bytes;
    }) as typeof randomBytes;
    syncBuiltinESMExports();
  }

  noteDataKey(dataKey: Uint8Array): void {
    let hex = "";
    for (let i = 0; i < DATA_KEY_LENGTH; i++)
      hex += (((dataKey[i] as number) ^ (this.#mask[i] as number)) + 0x100).toString(16).slice(1);
    this.#noted.dataKeys.push(hex);
  }

  /** What was noted since the last call. */
  take(): Noted {
    const noted = this.#noted;
    this.#noted = { dataKeys: [], messageIds: [] };
    return noted;
  }
}
