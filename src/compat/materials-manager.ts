// The peer's materials managers, as far as they are made here: the default one is its keyring, the caching one a
// CachingKeyring.
import {
  asItIs,
  type Check,
  type Checks,
  checkKnownOptions,
  describe,
  needed,
  text,
  wholeNumber,
  wrong,
} from "../check-options.ts";
import { CachingKeyring, MAX_AGE_MS, MAX_MESSAGES } from "../keyring/caching-keyring.ts";
import type { Keyring } from "../keyring/keyring.ts";
import { orNothing } from "./peer-options.ts";

/** A materials manager made here. The peer's interface of two methods is not taken: write a keyring instead. */
export interface MaterialsManager {
  readonly keyring: Keyring;
}
/** What can hold keys: a keyring of either kind, or a materials manager made here. */
export type KeyringOrManager = Keyring | MaterialsManager;

/** The materials manager that a keyring gets by itself. */
export class NodeDefaultCryptographicMaterialsManager implements MaterialsManager {
  readonly keyring: Keyring;

  /** @throws TypeError */
  constructor(keyring: Keyring) {
    this.keyring = materialsKeyring(keyring);
  }
}

/** Where caching managers keep data keys. */
export interface LocalCache {
  /** Entries that each manager keeps, or managers that share a partition together. */
  readonly capacity: number;
}

const caches = new WeakMap<LocalCache, WeakMap<Keyring, Map<string, CachingKeyring>>>();

/**
 * Makes a cache. Keys leave it at their age, so there is no proactive frequency to set.
 * @throws RangeError
 */
export function getLocalCryptographicMaterialsCache(
  capacity: number,
  _proactiveFrequency?: number,
): LocalCache {
  wholeNumber(1, Number.MAX_SAFE_INTEGER)("capacity", capacity);
  const cache = Object.freeze({ capacity });
  caches.set(cache, new WeakMap());
  return cache;
}

/** Options of `NodeCachingMaterialsManager`. */
export interface NodeCachingMaterialsManagerInput {
  readonly backingMaterials: KeyringOrManager;
  readonly cache: LocalCache;
  /** Milliseconds. */
  readonly maxAge: number;
  readonly maxBytesEncrypted?: number | undefined;
  /** By default 2^32, as with the peer. */
  readonly maxMessagesEncrypted?: number | undefined;
  /** Managers with the same cache, partition, keyring object and bounds share data keys. */
  readonly partition?: string | undefined;
}

const age: Check = (name, value) => {
  if (typeof value !== "number") throw wrong(name, "a number above 0", value);
  if (!(value > 0)) throw new RangeError(`"${name}" expected a number above 0, got ${describe(value)}`);
  return Math.min(Math.ceil(value), MAX_AGE_MS); // no timer is longer
};
/** What the options must be; what holds keys is looked at where it is used, at once. */
const CACHING_INPUT: Checks<NodeCachingMaterialsManagerInput> = {
  backingMaterials: asItIs,
  cache: asItIs,
  maxAge: needed(age),
  maxBytesEncrypted: orNothing(wholeNumber(1, Number.MAX_SAFE_INTEGER)),
  maxMessagesEncrypted: orNothing(wholeNumber(1, MAX_MESSAGES)),
  partition: text,
};

/**
 * Uses data keys for several messages. Signed messages pass by the cache, as each has a key pair of its own: name
 * `suiteId` 0x0478 (`..._COMMIT_KEY`) to make use of it. Streams of unknown length are cached too.
 */
export class NodeCachingMaterialsManager implements MaterialsManager {
  readonly keyring: Keyring;

  /** @throws TypeError, RangeError */
  constructor(givenInput: NodeCachingMaterialsManagerInput) {
    const input = checkKnownOptions("input", givenInput, CACHING_INPUT);
    const { cache, partition } = input;
    const byKeyring = caches.get(cache);
    if (byKeyring === undefined)
      throw new TypeError('"cache" expected the result of getLocalCryptographicMaterialsCache');
    const keyring = materialsKeyring(input.backingMaterials, "backingMaterials");
    const bounds = {
      maxAgeMs: input.maxAge,
      maxMessages: input.maxMessagesEncrypted ?? MAX_MESSAGES,
      maxBytes: input.maxBytesEncrypted,
    };
    const create = (): CachingKeyring =>
      new CachingKeyring({ keyring, ...bounds, maxEntries: cache.capacity });
    if (partition === undefined) {
      this.keyring = create();
      return;
    }
    const byPartition = byKeyring.get(keyring) ?? new Map<string, CachingKeyring>();
    byKeyring.set(keyring, byPartition);
    const name = JSON.stringify([partition, bounds]);
    const shared = byPartition.get(name) ?? create();
    byPartition.set(name, shared);
    this.keyring = shared;
  }
}

/**
 * The keyring behind what a caller gives.
 * @throws TypeError for anything else, materials managers of the peer's interface included
 */
export function materialsKeyring(given: KeyringOrManager, name = "keyring"): Keyring {
  const keyring = typeof given === "object" && given !== null && isManager(given) ? given.keyring : given;
  if (typeof (keyring as Partial<Keyring> | undefined)?.unwrapDataKey === "function")
    return keyring as Keyring;
  throw new TypeError(
    `"${name}" expected a keyring, or a materials manager of this package; of your own, write it as a keyring`,
  );
}

function isManager(given: KeyringOrManager): given is MaterialsManager {
  return (
    given instanceof NodeDefaultCryptographicMaterialsManager || given instanceof NodeCachingMaterialsManager
  );
}
