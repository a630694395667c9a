// Keys are no longer than S3 takes them, with the prefix they stand behind.
import { FramesealError } from "../../errors.ts";
import type { KeyNames } from "./key-names.ts";

/** Bytes of UTF-8 of a whole key. */
const MAX_KEY_LENGTH = 1024;

/**
 * The same names, for keys below `prefix`: a path whose key would be too long is refused.
 * @throws FramesealError LIMIT_EXCEEDED out of `keyOf`
 */
export function namesBelow(prefix: string, names: KeyNames): KeyNames {
  const room = MAX_KEY_LENGTH - Buffer.byteLength(prefix);
  return {
    keyOf(path, type) {
      const key = names.keyOf(path, type);
      const length = Buffer.byteLength(key);
      if (length <= room) return key;
      throw new FramesealError(
        "LIMIT_EXCEEDED",
        `the key of this name has ${length} bytes, and behind the prefix S3 takes ${Math.max(0, room)}`,
      );
    },
    entryOf: (key) => names.entryOf(key),
  };
}
