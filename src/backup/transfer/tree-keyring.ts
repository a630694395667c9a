// Fewer calls of a key service for many files: where files are not bound to their own names, a data key serves many of
// them, each with a key derived for it alone.
import { CachingKeyring } from "../../keyring/caching-keyring.ts";
import type { Keyring } from "../../keyring/keyring.ts";
import type { KeyBinding } from "../../s3/object-format.ts";

/** How long and for how much a data key is used; of opened ones, how many are kept. */
const LIMITS = {
  maxAgeMs: 10 * 60_000,
  maxMessages: 1000,
  maxBytes: 64 * 2 ** 30,
  maxEntries: 1000,
} as const;

/**
 * The keyring for a tree, where `keyring` asks a service. Objects that are bound to their keys have an encryption context
 * each, so each takes a data key of its own, and nothing is kept.
 */
export function treeKeyring(keyring: Keyring, bind: KeyBinding = "key"): Keyring {
  return bind === "prefix" || bind === "none" ? new CachingKeyring({ ...LIMITS, keyring }) : keyring;
}
