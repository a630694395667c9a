// Stored objects under new data keys: opened and sealed again as a stream, in the format, with the keys and the frames that
// are wanted from now on. What else an object has stays, as `rewrapObject` keeps it.
import { type Checks, checkOptions, flag, needed, oneOf, pickOptions, signal } from "../check-options.ts";
import { asAborted, hasCode } from "../errors.ts";
import { contextOption, type EncryptionContext } from "../format/encryption-context.ts";
import { DEFAULT_COMMITMENT_POLICY } from "../format/suite.ts";
import { type Keyring, keyringOption } from "../keyring/keyring.ts";
import { checkClient, encrypts } from "./derived-client.ts";
import type { EncryptS3ClientOptions } from "./encrypt-s3-client.ts";
import {
  createFormats,
  FORMAT_OPTIONS,
  type FormatName,
  type FormatOptions,
  keptSettings,
} from "./formats.ts";
import { nameHeadError } from "./head-error.ts";
import {
  type KeyBinding,
  LOCATION,
  type ObjectFormat,
  type ObjectLocation,
  type OpenedObject,
  objectBindings,
} from "./object-format.ts";
import { type ObjectJob, type ReplacedObject, storeAgain } from "./replaced-object.ts";
import { describe } from "./requests/get.ts";
import { checkNotReserved } from "./requests/side-object.ts";
import { UPLOAD_SETTINGS, type UploadSettings } from "./requests/upload-settings.ts";
import { READ_OPTIONS, type ReadOptions } from "./resuming-source.ts";
import { bodyInRanges } from "./stored-bytes.ts";
import { type S3ClientLike, Transport } from "./transport.ts";

type SharedOptions = Omit<FormatOptions, "keyring" | "format" | "authentication"> &
  ReadOptions &
  UploadSettings;

/** Options of `reencryptObject`; those of reading apply to the object as it is. */
export interface ReencryptOptions extends SharedOptions {
  /** Opens the object as it is. */
  readonly from: Keyring;
  /** Wraps the new data key; by default `from`. */
  readonly to?: Keyring | undefined;
  /**
   * By default a framed object stays one, and one of the S3 Encryption Clients becomes one of the version that the policy
   * allows.
   */
  readonly newFormat?: FormatName | undefined;
  /** What a framed object is bound to from now on; by default what it was bound to, its key at least. */
  readonly newBind?: KeyBinding | undefined;
  /** From now on. By default the object keeps the pairs in its header, and has those of `encryptionContext`. */
  readonly newEncryptionContext?: EncryptionContext | undefined;
  /** Takes what is not encrypted as it is, so that whatever stands there is sealed as if it were authentic. */
  readonly plain?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const {
  keyring: _,
  format,
  authentication: __,
  ...SHARED_OPTIONS
} = { ...FORMAT_OPTIONS, ...READ_OPTIONS, ...UPLOAD_SETTINGS };
const REENCRYPT_OPTIONS: Checks<ReencryptOptions> = {
  ...SHARED_OPTIONS,
  from: needed(keyringOption),
  to: keyringOption,
  newFormat: format,
  newBind: oneOf(...objectBindings),
  newEncryptionContext: contextOption,
  plain: flag,
  signal,
};

/** What was done. */
export interface ReencryptResult extends ReplacedObject {
  /** What was read. */
  readonly was: "framed" | "s3ec" | "not encrypted";
}

/**
 * Encrypts an object again, under a new data key. `client` is the plain one, or one of `serverSideEncryptS3Client`. What
 * stays is what stays with `rewrapObject`; nothing is stored unless all of the object is authentic, and nothing when it was
 * replaced meanwhile.
 * @throws FramesealError POLICY, AUTHENTICATION_FAILED, INVALID_METADATA, NOT_ENCRYPTED, UNSUPPORTED for an archived object,
 * and those of the keyrings; errors of S3, such as PreconditionFailed when the object was replaced meanwhile
 */
export function reencryptObject(
  client: S3ClientLike,
  location: ObjectLocation,
  options: ReencryptOptions,
): Promise<ReencryptResult> {
  return reencryptAs(client, location, options, ({ newFormat }) => newFormat);
}

/**
 * The format that an object shall have.
 * @param proven the pairs in its header; undefined for what has none
 */
export type FormatChoice = (
  options: ReencryptOptions,
  proven: EncryptionContext | undefined,
) => FormatName | undefined;

/** The same, with a format that depends on what the object is proven to be. */
export async function reencryptAs(
  client: S3ClientLike,
  givenLocation: ObjectLocation,
  givenOptions: ReencryptOptions,
  choose: FormatChoice,
): Promise<ReencryptResult> {
  checkClient(client);
  if (encrypts(client)) throw new TypeError('"client" expected a client that does not encrypt');
  const location = checkOptions("location", givenLocation, LOCATION);
  const options = checkOptions("options", givenOptions, REENCRYPT_OPTIONS);
  try {
    return await reencryptLocated(client, location, options, choose);
  } catch (error) {
    throw asAborted(error, options.signal);
  }
}

async function reencryptLocated(
  client: S3ClientLike,
  location: ObjectLocation,
  options: ReencryptOptions,
  choose: FormatChoice,
): Promise<ReencryptResult> {
  const { format, ...job } = await see(client, location, options);
  const { object } = job;
  let was: ReencryptResult["was"] = format.name === "framed" ? "framed" : "s3ec";
  const open = async (): Promise<OpenedObject> => {
    try {
      return await format.openWhole(object, bodyInRanges(object));
    } catch (error) {
      if (options.plain !== true || !hasCode(error, "NOT_ENCRYPTED")) throw error;
      was = "not encrypted";
      return { plaintextLength: object.storedLength, body: bodyInRanges(object) };
    }
  };
  const replaced = await storeAgain(job, open, async (opened) => {
    const newFormat = choose(options, opened.header?.encryptionContext);
    return newSettings({ ...options, newFormat }, opened, was);
  });
  return { ...replaced, was };
}

async function see(
  client: S3ClientLike,
  location: ObjectLocation,
  options: ReencryptOptions,
): Promise<ObjectJob & { readonly format: ObjectFormat }> {
  // Plaintext that is released early goes into a new object that is not stored if the old one turns out to be forged.
  const formats = createFormats({
    ...pickOptions<SharedOptions>(options, SHARED_OPTIONS),
    keyring: options.from,
    authentication: "delayed",
  });
  checkNotReserved(location.key, formats.all);
  const transport = new Transport(client, options.signal);
  const request = { Bucket: location.bucket, Key: location.key };
  const head = await transport.headObject(request).catch((error: unknown) => {
    throw nameHeadError(error, "the object to encrypt again");
  });
  const { format, object } = await describe(head, head.ContentLength, location, request, formats, transport);
  return { client, transport, formats: formats.all, object, head, versionId: undefined, format };
}

/** What an object says that it is, without a key; nothing of it is verified. */
export async function planReencryption(
  client: S3ClientLike,
  location: ObjectLocation,
  options: ReencryptOptions,
): Promise<ReencryptResult["was"]> {
  const { format, object } = await see(client, location, options);
  try {
    await format.sizeRule(object);
    return format.name === "framed" ? "framed" : "s3ec";
  } catch (error) {
    if (options.plain === true && hasCode(error, "NOT_ENCRYPTED")) return "not encrypted";
    throw error;
  }
}

// How the object is stored from now on.
function newSettings(
  options: ReencryptOptions,
  { header }: OpenedObject,
  was: ReencryptResult["was"],
): EncryptS3ClientOptions {
  const { newBind, newEncryptionContext, encryptionContext } = options;
  const single =
    (options.commitmentPolicy ?? DEFAULT_COMMITMENT_POLICY) === "FORBID_ENCRYPT_ALLOW_DECRYPT"
      ? "s3ec-v2"
      : "s3ec-v3";
  const format = options.newFormat ?? (was === "s3ec" ? single : "framed");
  const kept = header === undefined ? { encryptionContext } : keptSettings(options, header);
  const settings = {
    ...pickOptions<SharedOptions>(options, SHARED_OPTIONS),
    ...kept,
    ...(newEncryptionContext === undefined ? {} : { encryptionContext: newEncryptionContext }),
    keyring: options.to ?? options.from,
    format,
  };
  if (format === "framed") return { ...settings, bind: newBind ?? settings.bind };
  // These have neither frames nor names, and store all of their context.
  return {
    ...settings,
    bind: newBind,
    frameLength: undefined,
    suite: undefined,
    requiredEncryptionContextKeys: undefined,
  };
}
