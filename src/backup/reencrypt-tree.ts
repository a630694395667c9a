// All objects below a prefix under new data keys, in the format and with the keys that are wanted from now on.
import { INSTRUCTION_FILE_SUFFIX } from "../s3/object-metadata.ts";
import { type FormatChoice, planReencryption, type ReencryptOptions, reencryptAs } from "../s3/reencrypt.ts";
import { type Renewal, type RenewContext, type RenewedObject, renewTree, UPLOAD } from "./renew-tree.ts";
import { optionsFor } from "./rewrap-tree.ts";

/** As for one object. */
export type ReencryptTreeOptions = Omit<
  ReencryptOptions,
  "newEncryptionContext" | "signal" | keyof typeof UPLOAD
>;

/** Encrypts all objects again: those of `renewTree`. Links and manifests stay framed, and manifests bound to their keys. */
export function reencryptTree(context: RenewContext, options: ReencryptTreeOptions): Promise<void> {
  const { plain, address } = context;
  const locationOf = ({ key }: RenewedObject) => ({ bucket: address.bucket, key });
  const { newFormat, newBind, frameLength, suite, plain: takesPlain } = options;
  const renewal: Renewal = {
    kind: "reencrypt",
    to: options.to ?? options.from,
    settings: JSON.stringify({ newFormat, newBind, frameLength, suite, plain: takesPlain }),
    repeats: true,
    instructionFileSuffix: options.instructionFileSuffix ?? INSTRUCTION_FILE_SUFFIX,
    async plan(object, signal) {
      const was = await planReencryption(plain, locationOf(object), { ...of(object, options), signal });
      return { how: wayOf(was), readLength: object.storedSize };
    },
    async renew(object, signal) {
      const all = { ...of(object, options), ...UPLOAD, signal };
      const { was, ...stored } = await reencryptAs(plain, locationOf(object), all, formatOf);
      return { ...stored, how: wayOf(was), readLength: object.storedSize };
    },
  };
  return renewTree(context, renewal);
}

// A link is one by the pair in its header, which other formats may not have.
const formatOf: FormatChoice = ({ newFormat }, proven) => (proven?.type === "symlink" ? "framed" : newFormat);

function wayOf(was: string): string {
  return was === "not encrypted" ? "encrypted, which it was not" : "encrypted again";
}

function of(object: RenewedObject, options: ReencryptTreeOptions): ReencryptTreeOptions {
  if (!object.isManifest) return options;
  const { frameLength: _, ...others } = optionsFor(object, options);
  return { ...others, newFormat: "framed", newBind: undefined, plain: false };
}
