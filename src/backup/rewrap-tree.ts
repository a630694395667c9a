// All objects below a prefix under another master key. What the old key does not open any more, and the new one does, is
// done: the object itself proves that, not what its metadata says.
import { hasCode } from "../errors.ts";
import { INSTRUCTION_FILE_SUFFIX } from "../s3/object-metadata.ts";
import { planRewrap, proveKey, type RewrapOptions, type RewrapResult, rewrapWithin } from "../s3/rewrap.ts";
import {
  type Renewal,
  type RenewContext,
  type RenewedObject,
  renewTree,
  type Stored,
  UPLOAD,
} from "./renew-tree.ts";

/** As for one object, without what speaks of one object only. */
export type RewrapTreeOptions = Omit<
  RewrapOptions,
  "newEncryptionContext" | "versionId" | "newInstructionFileSuffix" | "signal"
>;

const ways: Readonly<Record<RewrapResult["change"], string>> = {
  metadata: "data key wrapped again",
  "instruction-file": "data key wrapped again in its instruction file",
  "re-encrypted": "encrypted again",
};

/** Puts all objects under another master key: those of `renewTree`. */
export function rewrapTree(context: RenewContext, options: RewrapTreeOptions): Promise<void> {
  const { plain, address } = context;
  const locationOf = ({ key }: RenewedObject) => ({ bucket: address.bucket, key });
  const renewal: Renewal = {
    kind: "rewrap",
    to: options.to,
    settings: "",
    repeats: false,
    instructionFileSuffix: options.instructionFileSuffix ?? INSTRUCTION_FILE_SUFFIX,
    async plan(object, signal) {
      const { to: _, enforceRotation: __, ...reading } = optionsFor(object, options);
      const { change, readLength } = await planRewrap(plain, locationOf(object), { ...reading, signal });
      return { how: ways[change], readLength };
    },
    async renew(object, signal) {
      const all = { ...optionsFor(object, options), signal };
      try {
        const result = await rewrapWithin(plain, locationOf(object), all, { upload: UPLOAD });
        return storedBy(result, object);
      } catch (error) {
        if (!hasCode(error, "NO_DATA_KEY") && !hasCode(error, "AUTHENTICATION_FAILED")) throw error;
        const { from: _, to, enforceRotation: __, ...reading } = all;
        await proveKey(plain, locationOf(object), { ...reading, from: to }).catch(() => {
          throw error;
        });
        return "done";
      }
    },
  };
  return renewTree(context, renewal);
}

/** Manifests are bound to their keys, whatever the tree is bound to; their context has all pairs of the tree. */
export function optionsFor<Options extends Pick<RewrapOptions, "bind">>(
  { isManifest }: RenewedObject,
  options: Options,
): Options {
  return isManifest ? { ...options, bind: undefined } : options;
}

function storedBy({ change, ...result }: RewrapResult, { storedSize }: RenewedObject): Stored {
  const { previousETag, eTag, versionId, notKept } = result;
  // Its object is as it was.
  const now =
    change === "instruction-file" ? { eTag: previousETag, versionId: undefined } : { eTag, versionId };
  return {
    ...now,
    how: ways[change],
    readLength: change === "re-encrypted" ? storedSize : 0,
    previousETag,
    notKept,
  };
}
