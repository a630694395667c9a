// Fewer calls of a key service for many files: where files are not bound to their own names, a data key serves many of
// them, each with a key derived for it alone.
import { CachingKeyring } from "../../keyring/caching-keyring.ts";
import type { Keyring } from "../../keyring/keyring.ts";
import type { KeyBinding } from "../../s3/object-format.ts";
import type { Report } from "../report.ts";

/** How long and for how much a data key is used; of opened ones, how many are kept. */
const LIMITS = {
  maxAgeMs: 10 * 60_000,
  maxMessages: 1000,
  maxBytes: 64 * 2 ** 30,
  maxEntries: 1000,
} as const;

/** From so many data keys on, it is worth to know that fewer would do. */
const MANY = 100;

/**
 * The keyring for a tree, where `keyring` asks a service. Objects that are bound to their keys have an encryption context
 * each, so each takes a data key of its own: that is told, once.
 */
export function treeKeyring(
  keyring: Keyring,
  { bind = "key", report }: { readonly bind?: KeyBinding | undefined; readonly report: Pick<Report, "warn"> },
): Keyring {
  if (bind === "prefix" || bind === "none") return new CachingKeyring({ ...LIMITS, keyring });
  let count = 0;
  return {
    generateDataKey(request) {
      count += 1;
      if (count === MANY)
        report.warn(
          `every file takes a call of the key service, because objects are bound to their keys: with --bind prefix, ` +
            `one call serves up to ${LIMITS.maxMessages} files of a folder`,
        );
      return keyring.generateDataKey(request);
    },
    wrapDataKey: (dataKey, request) => keyring.wrapDataKey(dataKey, request),
    unwrapDataKey: (keys, request) => keyring.unwrapDataKey(keys, request),
    recordUse: (request, length) => keyring.recordUse?.(request, length),
  };
}
