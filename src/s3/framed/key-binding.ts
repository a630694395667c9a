// Binds an object to its name: the key, or the part of it before its last slash, stands in the encryption context and
// is demanded on read, so that whoever can write the bucket cannot pass one object off as another.
import { FramesealError } from "../../errors.ts";
import { type EncryptionContext, encodeEncryptionContext } from "../../format/encryption-context.ts";
import { quote } from "../../quote.ts";
import type { ObjectLocation } from "../object-format.ts";

/**
 * What an object is bound to: its whole key, the key up to its last slash, or nothing. Bound to the key, every object
 * needs a data key of its own from the keyring.
 */
export type KeyBinding = "key" | "prefix" | "none";

/** Names of the pairs that bind. */
const KEY_NAME = "frameseal-key";
const PREFIX_NAME = "frameseal-prefix";

/** @throws TypeError unless `binding` is one of the three, or if the caller's context has names of this file */
export function checkBinding(binding: KeyBinding, context: EncryptionContext): void {
  if (!["key", "prefix", "none"].includes(binding))
    throw new TypeError(`"bind" expected key, prefix or none, got ${binding}`);
  encodeEncryptionContext(context);
  for (const name of Object.keys(context))
    if (name.startsWith("frameseal-"))
      throw new TypeError(
        `"encryptionContext" expected no key that starts with frameseal-, got ${quote(name)}`,
      );
}

/** The caller's context and the pair that binds. */
export function boundContext(
  binding: KeyBinding,
  location: ObjectLocation,
  context: EncryptionContext,
): EncryptionContext {
  return Object.assign(Object.create(null), context, bindingPair(binding, location));
}

/**
 * Checks that a stored context binds the object to `location`. The header's tag confirms the context later.
 * @throws FramesealError CONTEXT_MISMATCH
 */
export function checkBound(binding: KeyBinding, location: ObjectLocation, stored: EncryptionContext): void {
  for (const [name, value] of Object.entries(bindingPair(binding, location))) {
    if (!Object.hasOwn(stored, name))
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object is not bound to its ${binding}: open it with "bind" set to what it was written with`,
      );
    if (stored[name] !== value)
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object was stored under another ${binding}: it has been moved or swapped`,
      );
  }
}

/** True if an object that stands at `from` may stand at `to` as well, judged by its stored context. */
export function staysBound(stored: EncryptionContext, to: ObjectLocation): boolean {
  const key = stored[KEY_NAME];
  const prefix = stored[PREFIX_NAME];
  return (key === undefined || key === to.key) && (prefix === undefined || prefix === prefixOf(to.key));
}

/** Bytes of the header that depend on the name of the object. */
export function boundLength(binding: KeyBinding, location: ObjectLocation): number {
  const values = Object.values(bindingPair(binding, location));
  return values.reduce((length, value) => length + Buffer.byteLength(value, "utf8"), 0);
}

function bindingPair(binding: KeyBinding, { key }: ObjectLocation): EncryptionContext {
  if (binding === "key") return { [KEY_NAME]: key };
  if (binding === "prefix") return { [PREFIX_NAME]: prefixOf(key) };
  return {};
}

function prefixOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/") + 1);
}
