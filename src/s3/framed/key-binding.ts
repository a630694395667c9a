// Binds an object to its name: the key, or the part of it before its last slash, and on request the bucket, stand in the
// encryption context and are demanded on read, so that whoever can write the bucket cannot pass one object off as another.
import { FramesealError } from "../../errors.ts";
import { type EncryptionContext, encodeEncryptionContext } from "../../format/encryption-context.ts";
import { quote } from "../../quote.ts";
import { isBucketName } from "../bucket-name.ts";
import { type KeyBinding, type ObjectLocation, objectBindings } from "../object-format.ts";

/** Bound to the key, every object needs a data key of its own from the keyring. */
const DEFAULT_BINDING = "key" satisfies KeyBinding;
/** Begins the names of the pairs that bind. */
const BINDING_PREFIX = "frameseal-";
const BUCKET_NAME = "frameseal-bucket";

/** The pairs that bind: what each is called, and its value for an object. */
const PAIRS: Readonly<
  Record<string, { readonly what: string; readonly valueOf: (location: ObjectLocation) => string }>
> = {
  "frameseal-key": { what: "key", valueOf: ({ key }) => key },
  "frameseal-prefix": { what: "prefix", valueOf: ({ key }) => key.slice(0, key.lastIndexOf("/") + 1) },
  [BUCKET_NAME]: { what: "bucket", valueOf: bucketNameOf },
};

/** The pairs that each binding writes and demands. */
const WRITTEN: Readonly<Record<KeyBinding, readonly string[]>> = {
  key: ["frameseal-key"],
  bucket: ["frameseal-key", BUCKET_NAME],
  prefix: ["frameseal-prefix"],
  none: [],
};

/**
 * @throws TypeError unless `binding` is one of the four, or if the caller's context has names of this file, or demands
 * them unstored
 */
export function checkBinding(
  binding: KeyBinding | undefined,
  context: EncryptionContext,
  requiredKeys: readonly string[] = [],
): void {
  if (binding !== undefined && !objectBindings.includes(binding))
    throw new TypeError(`"bind" expected one of ${objectBindings.join(", ")}, got ${quote(String(binding))}`);
  encodeEncryptionContext(context);
  for (const [option, names] of [
    ["encryptionContext", Object.keys(context)],
    ["requiredEncryptionContextKeys", requiredKeys],
  ] as const)
    for (const name of names)
      if (name.startsWith(BINDING_PREFIX))
        throw new TypeError(
          `"${option}" expected no key that starts with ${BINDING_PREFIX}, got ${quote(name)}`,
        );
}

/**
 * The caller's context and the pairs that bind.
 * @throws FramesealError POLICY when the bucket is to be bound and `location` does not name it
 */
export function boundContext(
  binding: KeyBinding | undefined,
  location: ObjectLocation,
  context: EncryptionContext,
): EncryptionContext {
  const pairs = WRITTEN[binding ?? DEFAULT_BINDING].map((name) => [name, pairValue(name, location)]);
  return Object.assign(Object.create(null), context, Object.fromEntries(pairs));
}

/**
 * Checks that a stored context binds the object to `location`. The header's tag confirms the context later. A reader who
 * names a binding has its pairs checked and no others; one who names none has everything checked that the writer bound,
 * the key at least.
 * @throws FramesealError CONTEXT_MISMATCH; POLICY when `location` does not name the bucket
 */
export function checkBound(
  binding: KeyBinding | undefined,
  location: ObjectLocation,
  stored: EncryptionContext,
): void {
  const demanded = WRITTEN[binding ?? DEFAULT_BINDING];
  for (const name of demanded)
    if (!Object.hasOwn(stored, name))
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object is not bound to its ${PAIRS[name]?.what}: open it with "bind" set to what it was written with`,
      );
  for (const name of binding === undefined ? bindingNames(stored) : demanded) {
    const what = PAIRS[name]?.what;
    if (what === undefined)
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object is bound by ${JSON.stringify(name.slice(0, 64))}, which is not known here: "bind" set to key leaves it unchecked`,
      );
    if (stored[name] !== pairValue(name, location))
      throw new FramesealError(
        "CONTEXT_MISMATCH",
        `object was stored under another ${what}: it has been moved or swapped${
          what === "bucket" && binding === undefined
            ? ', or its bucket was restored, which "bind" set to key allows'
            : ""
        }`,
      );
  }
}

/** True if an object that stands at `from` may stand at `to` as well, judged by its stored context. */
export function staysBound(stored: EncryptionContext, to: ObjectLocation): boolean {
  return bindingNames(stored).every((name) => {
    if (name === BUCKET_NAME && !isBucketName(to.bucket)) return false;
    return PAIRS[name]?.valueOf(to) === stored[name];
  });
}

/** What a new object must be bound to so that no less is bound than by a stored context that was read by default. */
export function keptBinding(stored: EncryptionContext): KeyBinding {
  return Object.hasOwn(stored, BUCKET_NAME) ? "bucket" : DEFAULT_BINDING;
}

/** Bytes of the header that depend on the name of the object. */
export function boundLength(binding: KeyBinding | undefined, location: ObjectLocation): number {
  // A bucket is the same for all objects of a listing.
  const names = WRITTEN[binding ?? DEFAULT_BINDING].filter((name) => name !== BUCKET_NAME);
  return names.reduce((length, name) => length + Buffer.byteLength(pairValue(name, location), "utf8"), 0);
}

function bindingNames(context: EncryptionContext): readonly string[] {
  return Object.keys(context).filter((name) => name.startsWith(BINDING_PREFIX));
}

function pairValue(name: string, location: ObjectLocation): string {
  const pair = PAIRS[name];
  if (pair === undefined) throw new Error("internal error: pair that does not bind");
  return pair.valueOf(location);
}

function bucketNameOf({ bucket }: ObjectLocation): string {
  if (isBucketName(bucket)) return bucket;
  throw new FramesealError(
    "POLICY",
    "an object cannot be bound to a bucket that an access point, a URL or a tenant leads to: name the bucket, or set " +
      '"bind" to key',
  );
}
