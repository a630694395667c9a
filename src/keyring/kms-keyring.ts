// Data keys from AWS KMS: GenerateDataKey when writing, Decrypt when reading. The wrapping keys never leave KMS. The
// only file that makes KMS commands; the client is the caller's.
import type * as KMS from "@aws-sdk/client-kms";
import { allocateSecret, decodeUtf8, wipe } from "../bytes.ts";
import {
  type Check,
  type Checks,
  checkOptions,
  describe,
  filledListOf,
  listOf,
  listOfStrings,
  needed,
  oneOf,
  wholeNumber,
  within,
  wrong,
} from "../check-options.ts";
import { allCauses, FramesealError, hasCode, throwIfAborted } from "../errors.ts";
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import { shorten } from "../quote.ts";
import { copyOf, type SdkPackage } from "../sdk-copy.ts";
import { withSecretCheck } from "../secret-transport.ts";
import { bytesLength, isError } from "../shapes.ts";
import { untilAborted } from "../until-aborted.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring.ts";
import { type KmsDataKey, type KmsRequest, registerKmsAccess } from "./kms-access.ts";
import { areRelatedKeys, formatKmsArn, isMultiRegionKey, type KmsArn, parseKmsArn } from "./kms-arn.ts";
import { takeDataKey } from "./take-data-key.ts";

/** What of a `KMSClient` is needed. Its retries, credentials and endpoint are the caller's choice. */
export type KmsClient = Pick<KMS.KMSClient, "send">;

/** Gives the client of a region; undefined if that region must not be asked. Called once a region. */
export type KmsClientSupplier = (region: string) => KmsClient | undefined;

interface CommonOptions {
  /** One client for all calls, or a function that gives the client of a region. */
  readonly client: KmsClient | KmsClientSupplier;
  /** Sent with every call. */
  readonly grantTokens?: readonly string[] | undefined;
  /** Milliseconds after which a call, with the retries of its client, is given up; by default 60,000. */
  readonly timeoutMs?: number | undefined;
}

/** A keyring for named keys: it asks KMS for no other key, whatever a message says. */
export interface KmsStrictOptions extends CommonOptions {
  /** Makes data keys. Without it the keyring only opens, and wraps keys of other keyrings. */
  readonly generatorKeyId?: string | undefined;
  /** Wrap the data key too. */
  readonly keyIds?: readonly string[] | undefined;
  /**
   * `related`: opens with a replica of a multi-region key what another replica has wrapped. By default `exact`: the
   * ARNs must be equal.
   */
  readonly multiRegionKeys?: "exact" | "related" | undefined;
  readonly discovery?: undefined;
}

/** A keyring that only opens, with any key that its filter allows. */
export interface KmsDiscoveryOptions extends CommonOptions {
  readonly discovery: {
    /** `aws`, `aws-cn`, … */
    readonly partition: string;
    /** Accounts of 12 digits whose keys may be asked; at least one. */
    readonly accountIds: readonly string[];
    /** Replicas of multi-region keys are asked in this region, other keys only if they are in it. */
    readonly region?: string | undefined;
  };
  readonly generatorKeyId?: undefined;
  readonly keyIds?: undefined;
}

/** Options of `KmsKeyring`. */
export type KmsKeyringOptions = KmsStrictOptions | KmsDiscoveryOptions;

const clientKms: SdkPackage<typeof KMS> = {
  name: "@aws-sdk/client-kms",
  client: "KMSClient",
  load: () => import("@aws-sdk/client-kms"),
};
const PROVIDER_ID = "aws-kms";
const DEFAULT_TIMEOUT_MS = 60_000;
const MAX_CIPHERTEXT_LENGTH = 6144; // KMS API reference, Decrypt: CiphertextBlob

const MAX_TIMEOUT_MS = 2 ** 31 - 1; // longest timer

type DiscoveryFilter = KmsDiscoveryOptions["discovery"];
/** Options of both kinds, before it is known which. */
interface AnyOptions extends CommonOptions {
  readonly generatorKeyId?: string | undefined;
  readonly keyIds?: readonly string[] | undefined;
  readonly multiRegionKeys?: "exact" | "related" | undefined;
  readonly discovery?: DiscoveryFilter | undefined;
}

/** A string of a form. */
const like =
  (form: RegExp, expected: string): Check =>
  (name, value) => {
    if (typeof value !== "string" || !form.test(value)) throw wrong(name, expected, value);
    return value;
  };
/** What a discovery filter must be. */
const DISCOVERY: Checks<DiscoveryFilter> = {
  partition: needed(within("discovery", like(/^aws[a-z-]*$/, "aws, aws-cn or the like"))),
  accountIds: needed(within("discovery", filledListOf(like(/^[0-9]{12}$/, "accounts of 12 digits")))),
  region: within("discovery", like(/^[a-z0-9-]{1,40}$/, "a region")),
};
/** What the options must be, each by itself. */
const OPTIONS: Checks<AnyOptions> = {
  client: needed((name, value) => {
    if (typeof value !== "function" && typeof (value as KmsClient | null | undefined)?.send !== "function")
      throw wrong(name, "a KMSClient or a function", value);
    return value;
  }),
  grantTokens: listOfStrings,
  timeoutMs: wholeNumber(1, MAX_TIMEOUT_MS),
  generatorKeyId: keyIdOption,
  keyIds: listOf(keyIdOption),
  multiRegionKeys: oneOf("exact", "related"),
  discovery: (name, value) => Object.freeze(checkOptions(name, value as DiscoveryFilter, DISCOVERY)),
};

/**
 * Wraps data keys with AWS KMS. Keys are named by ARN; aliases and bare key ids can only encrypt, since messages name
 * keys by ARN. There is no hierarchical keyring (branch keys): use `CachingKeyring` to make fewer calls.
 */
export class KmsKeyring implements Keyring {
  readonly generatorKeyId: string | undefined;
  readonly keyIds: readonly string[];
  readonly discovery: DiscoveryFilter | undefined;
  readonly #clientOf: (region: string | undefined) => KmsClient | undefined;
  readonly #grantTokens: string[] | undefined;
  readonly #timeoutMs: number;
  readonly #multiRegionKeys: "exact" | "related";

  /** @throws TypeError, RangeError */
  constructor(givenOptions: KmsKeyringOptions) {
    const options = checkOptions<AnyOptions>("options", givenOptions, OPTIONS);
    this.generatorKeyId = options.generatorKeyId;
    this.keyIds = options.keyIds ?? [];
    this.discovery = options.discovery;
    const named = this.#named();
    if (this.discovery !== undefined && named.length > 0)
      throw new TypeError('"discovery" expected no "generatorKeyId" or "keyIds" beside it');
    if (this.discovery === undefined && named.length === 0)
      throw new TypeError('"generatorKeyId", "keyIds" or "discovery" expected, got none');
    if (this.discovery !== undefined && options.multiRegionKeys !== undefined)
      throw new TypeError('"discovery" expected no "multiRegionKeys" beside it');
    const { client } = options;
    if (typeof client === "function") for (const keyId of named) checkHasRegion(keyId);
    if (new Set(named).size !== named.length) throw new RangeError('"keyIds" expected each key once');
    this.#clientOf = clientSource(client);
    this.#grantTokens = options.grantTokens === undefined ? undefined : [...options.grantTokens];
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#multiRegionKeys = options.multiRegionKeys ?? "exact";
    registerKmsAccess(this, {
      generateDataKey: (request) => this.#generate(request),
      decrypt: (ciphertext, request) => this.#decryptUnnamed(ciphertext, request),
    });
  }

  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    const kmsRequest = kmsRequestOf(request);
    const { dataKey, ciphertext, keyArn } = await this.#generate(kmsRequest);
    try {
      const encryptedDataKeys = [encryptedDataKey(keyArn, ciphertext)];
      for (const keyId of this.keyIds)
        encryptedDataKeys.push(await this.#encrypt(keyId, dataKey, kmsRequest));
      return { dataKey, encryptedDataKeys };
    } catch (error) {
      wipe(dataKey);
      throw error;
    }
  }

  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly EncryptedDataKey[]> {
    if (this.discovery !== undefined) throw onlyDecrypts();
    const wrapped: EncryptedDataKey[] = [];
    for (const keyId of this.#named())
      wrapped.push(await this.#encrypt(keyId, dataKey, kmsRequestOf(request)));
    return wrapped;
  }

  async unwrapDataKey(
    encryptedDataKeys: readonly EncryptedDataKey[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    const attempts: (() => Promise<Uint8Array>)[] = [];
    for (const key of encryptedDataKeys) {
      const found = this.#find(key);
      if ("keyArn" in found)
        attempts.push(() => this.#decrypt(key.ciphertext, found.keyArn, kmsRequestOf(request)));
      else request.skipped?.add(`KMS keyring: ${found.why}`, key);
    }
    return attempts.length === 0 ? null : firstSuccess(attempts);
  }

  #named(): readonly string[] {
    return this.generatorKeyId === undefined ? this.keyIds : [this.generatorKeyId, ...this.keyIds];
  }

  // The ARN to ask KMS with for a key that a message names, or why this keyring must not ask for it.
  #find({ providerId, providerInfo }: EncryptedDataKey): Found {
    if (providerId !== PROVIDER_ID) return { why: "not wrapped by AWS KMS" };
    // An ARN is not nearly as long.
    const stored = parseKmsArn(providerInfo.length > 2048 ? "" : (decodeUtf8(providerInfo) ?? ""));
    if (stored === undefined) return { why: "malformed provider info: no ARN of a KMS key" };
    if (stored.kind !== "key") return { why: "malformed provider info: the ARN of an alias" };
    return this.discovery === undefined ? this.#findNamed(stored) : findDiscovered(this.discovery, stored);
  }

  #findNamed(stored: KmsArn): Found {
    const named = this.#named();
    for (const keyId of named) {
      const own = parseKmsArn(keyId);
      if (own === undefined) continue;
      const matches =
        this.#multiRegionKeys === "related" ? areRelatedKeys(own, stored) : keyId === formatKmsArn(stored);
      if (matches) return { keyArn: keyId };
    }
    const replica = named.map(parseKmsArn).find((own) => own !== undefined && areRelatedKeys(own, stored));
    if (replica !== undefined)
      return {
        why: `a replica of the multi-region key ${formatKmsArn(replica)}, and "multiRegionKeys" is exact`,
      };
    // Nothing tells without asking KMS whether an alias is one of this key.
    const notArns = named.filter((keyId) => parseKmsArn(keyId)?.kind !== "key");
    if (notArns.length > 0)
      return { why: `${list(notArns)} can only encrypt: to decrypt, name the key by its ARN` };
    const others = (part: "account" | "partition" | "region"): boolean =>
      named.every((keyId) => parseKmsArn(keyId)?.[part] !== stored[part]);
    const part = (["partition", "account", "region"] as const).find(others);
    return { why: `not ${list(named)}${part === undefined ? "" : `, but a key of another ${part}`}` };
  }

  async #generate(request: KmsRequest): Promise<KmsDataKey> {
    const KeyId = this.generatorKeyId;
    if (KeyId === undefined) throw onlyDecrypts();
    const input = { KeyId, NumberOfBytes: request.keyLength, ...this.#commonInput(request) };
    return this.#call("make a data key with", KeyId, request, async (client, kms, options) => {
      const answer = await client.send(guarded(new kms.GenerateDataKeyCommand(input)), options);
      const dataKey = takePlaintext(answer.Plaintext, KeyId, request);
      try {
        const keyArn = answeredArn(KeyId, answer.KeyId);
        return { dataKey, ciphertext: takeCiphertext(answer.CiphertextBlob, KeyId), keyArn };
      } catch (error) {
        wipe(dataKey);
        throw error;
      }
    });
  }

  async #encrypt(keyId: string, dataKey: Uint8Array, request: KmsRequest): Promise<EncryptedDataKey> {
    // The client reads its input again for each retry: it gets memory that nobody else writes to.
    const Plaintext = allocateSecret(dataKey.length);
    Plaintext.set(dataKey);
    try {
      const input = { KeyId: keyId, Plaintext, ...this.#commonInput(request) };
      return await this.#call("wrap a data key with", keyId, request, async (client, kms, options) => {
        const answer = await client.send(guarded(new kms.EncryptCommand(input)), options);
        return encryptedDataKey(
          answeredArn(keyId, answer.KeyId),
          takeCiphertext(answer.CiphertextBlob, keyId),
        );
      });
    } finally {
      wipe(Plaintext);
    }
  }

  async #decrypt(ciphertext: Uint8Array, keyArn: string, request: KmsRequest): Promise<Uint8Array> {
    const { dataKey, usedKeyId } = await this.#sendDecrypt(ciphertext, keyArn, request);
    if (usedKeyId === keyArn) return dataKey;
    wipe(dataKey);
    throw wrongAnswer(keyArn, "it used another key");
  }

  async #decryptUnnamed(ciphertext: Uint8Array, request: KmsRequest): Promise<Uint8Array> {
    if (this.discovery === undefined) {
      const arns = this.#named().filter((keyId) => parseKmsArn(keyId)?.kind === "key");
      if (arns.length === 0)
        throw new FramesealError(
          "NO_DATA_KEY",
          `KMS keyring: ${list(this.#named())} can only encrypt: to decrypt, name the key by its ARN`,
        );
      return firstSuccess(arns.map((keyArn) => () => this.#decrypt(ciphertext, keyArn, request)));
    }
    const { dataKey, usedKeyId } = await this.#sendDecrypt(ciphertext, undefined, request);
    const used = parseKmsArn(usedKeyId ?? "");
    if (used?.kind === "key" && isAllowed(this.discovery, used)) return dataKey;
    wipe(dataKey);
    throw wrongAnswer("any key", "it used a key that the discovery filter does not allow");
  }

  #sendDecrypt(
    ciphertext: Uint8Array,
    keyArn: string | undefined,
    request: KmsRequest,
  ): Promise<{ readonly dataKey: Uint8Array; readonly usedKeyId: string | undefined }> {
    const input = {
      CiphertextBlob: ciphertext,
      ...(keyArn === undefined ? {} : { KeyId: keyArn }),
      ...this.#commonInput(request),
    };
    return this.#call("unwrap a data key with", keyArn, request, async (client, kms, options) => {
      const answer = await client.send(guarded(new kms.DecryptCommand(input)), options);
      const dataKey = takePlaintext(answer.Plaintext, keyArn ?? "any key", request);
      return { dataKey, usedKeyId: answer.KeyId };
    });
  }

  #commonInput({ encryptionContext }: KmsRequest): {
    EncryptionContext: Record<string, string>;
    GrantTokens?: string[];
  } {
    const common = { EncryptionContext: { ...encryptionContext } };
    return this.#grantTokens === undefined ? common : { ...common, GrantTokens: this.#grantTokens };
  }

  // Retries are the client's: it knows which answers are worth it. Aborts and timeouts end them. `send` also takes what
  // it needs out of the answer, in the moment it arrives.
  async #call<Answer extends object>(
    verb: string,
    keyId: string | undefined,
    { signal }: KmsRequest,
    send: (client: KmsClient, kms: typeof KMS, options: { abortSignal: AbortSignal }) => Promise<Answer>,
  ): Promise<Answer> {
    throwIfAborted(signal);
    const region = parseKmsArn(keyId ?? "")?.region ?? this.discovery?.region;
    const client = this.#clientOf(region);
    const name = keyId ?? "any key";
    if (client === undefined)
      throw new FramesealError("KEY_SERVICE", `no KMS client for the region of ${name}`);
    const kms = await copyOf(clientKms, client);
    throwIfAborted(signal); // loading the SDK takes its time, and a signal tells but once
    const stop = new AbortController();
    const abort = (): void => stop.abort();
    const timer = setTimeout(abort, this.#timeoutMs);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await untilAborted(send(client, kms, { abortSignal: stop.signal }), stop.signal, (late) =>
        wipe((late as { readonly dataKey?: Uint8Array }).dataKey),
      );
    } catch (error) {
      throwIfAborted(signal);
      // By its class: a service can give its errors any name.
      if (error instanceof FramesealError && ["KEY_SERVICE", "POLICY"].includes(error.code)) throw error;
      if (stop.signal.aborted)
        throw new FramesealError(
          "KEY_SERVICE",
          `AWS KMS did not answer within ${this.#timeoutMs} ms (${name})`,
        );
      throw kmsFailure(verb, name, error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

/** Which key to ask KMS for, or why none. */
type Found = { readonly keyArn: string } | { readonly why: string };

function findDiscovered(filter: DiscoveryFilter, stored: KmsArn): Found {
  if (filter.partition !== stored.partition)
    return { why: `a key of another partition than the ${filter.partition} of the discovery filter` };
  if (!isAllowed(filter, stored))
    return { why: "a key of an account that the discovery filter does not have" };
  const { region } = filter;
  if (region === undefined || region === stored.region) return { keyArn: formatKmsArn(stored) };
  if (isMultiRegionKey(stored)) return { keyArn: formatKmsArn({ ...stored, region }) };
  return {
    why: `a key of another region than the ${region} of the discovery filter, without a replica there`,
  };
}

/** The first of some keys by name. */
function list(keyIds: readonly string[]): string {
  const [first = "", second] = keyIds;
  if (second === undefined) return first;
  return `${first}, ${second}${keyIds.length > 2 ? ` or ${keyIds.length - 2} more` : ""}`;
}

// Data keys are in the clear in all three: whatever address the client comes to, they must not be read on the way.
function guarded<Command extends object>(command: Command): Command {
  return withSecretCheck(command, "AWS KMS hands out data keys");
}

function kmsRequestOf({ suite, encryptionContext, signal }: DataKeyRequest): KmsRequest {
  return { keyLength: suite.keyLength, encryptionContext, signal };
}

function encryptedDataKey(keyArn: string, ciphertext: Uint8Array): EncryptedDataKey {
  return { providerId: PROVIDER_ID, providerInfo: new Uint8Array(Buffer.from(keyArn, "utf8")), ciphertext };
}

function isAllowed({ partition, accountIds }: DiscoveryFilter, key: KmsArn): boolean {
  return key.partition === partition && accountIds.includes(key.account);
}

const UNQUALIFIED_KEY_ID =
  /^(alias\/[A-Za-z0-9/_-]{1,256}|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

function keyIdOption(name: string, value: unknown): string {
  if (typeof value !== "string") throw wrong(name, "a string", value);
  if (parseKmsArn(value) === undefined && !UNQUALIFIED_KEY_ID.test(value))
    throw new RangeError(`"${name}" expected an ARN, alias or id of a KMS key, got ${describe(value)}`);
  return value;
}

function checkHasRegion(keyId: string): void {
  if (parseKmsArn(keyId) === undefined)
    throw new RangeError(`"keyIds" expected ARNs, since "client" wants a region, got ${keyId}`);
}

function clientSource(
  client: KmsClient | KmsClientSupplier,
): (region: string | undefined) => KmsClient | undefined {
  if (typeof client === "function") {
    const clients = new Map<string, KmsClient | undefined>();
    return (region) => {
      if (region === undefined) return undefined;
      if (!clients.has(region)) clients.set(region, client(region));
      return clients.get(region);
    };
  }
  return () => client;
}

// The caller wipes the result.
function takePlaintext(plaintext: Uint8Array | undefined, keyId: string, request: KmsRequest): Uint8Array {
  if (plaintext === undefined) throw wrongAnswer(keyId, "it has no data key");
  return takeDataKey(plaintext, request.keyLength, (why) => wrongAnswer(keyId, `its data key ${why}`));
}

function takeCiphertext(ciphertext: Uint8Array | undefined, keyId: string): Uint8Array {
  const length = bytesLength(ciphertext) ?? 0;
  if (ciphertext === undefined || length === 0) throw wrongAnswer(keyId, "it has no wrapped key");
  if (length > MAX_CIPHERTEXT_LENGTH) throw wrongAnswer(keyId, `its wrapped key has ${length} bytes`);
  const copy = new Uint8Array(length);
  copy.set(ciphertext);
  return copy;
}

// Messages name keys by ARN. An answer for another key than the one asked for must not be used.
function answeredArn(asked: string, answered: string | undefined): string {
  const used = parseKmsArn(answered ?? "");
  if (typeof answered !== "string" || used?.kind !== "key") throw wrongAnswer(asked, "it names no key ARN");
  const arn = parseKmsArn(asked);
  if (arn === undefined) {
    if (!asked.startsWith("alias/") && used.id !== asked) throw wrongAnswer(asked, "it used another key");
  } else if (arn.kind === "key") {
    if (answered !== asked) throw wrongAnswer(asked, "it used another key");
  } else if (formatKmsArn({ ...used, kind: "alias", id: arn.id }) !== asked)
    throw wrongAnswer(asked, "it used a key of another account or region");
  return answered;
}

async function firstSuccess(attempts: readonly (() => Promise<Uint8Array>)[]): Promise<Uint8Array> {
  const causes: unknown[] = [];
  for (const attempt of attempts) {
    try {
      return await attempt();
    } catch (error) {
      if (hasCode(error, "ABORTED") || hasCode(error, "POLICY")) throw error;
      causes.push(error);
    }
  }
  if (causes.length === 1) throw causes[0];
  const service = causes.some((cause) => hasCode(cause, "KEY_SERVICE"));
  const cause = allCauses(causes);
  throw new FramesealError(
    service ? "KEY_SERVICE" : "NO_DATA_KEY",
    `AWS KMS unwrapped none of ${causes.length} data keys: ${cause.message}`,
    { cause },
  );
}

function onlyDecrypts(): FramesealError {
  return new FramesealError("NO_DATA_KEY", "KMS keyring has no generator key: it can only decrypt");
}

function wrongAnswer(keyId: string, why: string): FramesealError {
  return new FramesealError("KEY_SERVICE", `answer of AWS KMS for ${keyId} must not be trusted: ${why}`);
}

// The blob is not what this key has wrapped under this context. Anything else may work another time.
const notUnwrapped: ReadonlySet<string> = new Set(["InvalidCiphertextException", "IncorrectKeyException"]);

function kmsFailure(verb: string, keyId: string, error: unknown): FramesealError {
  const name = isError(error) && /^[A-Za-z]{1,64}$/.test(error.name) ? error.name : "unknown error";
  const cause = withoutAnswer(error, name);
  if (notUnwrapped.has(name))
    return new FramesealError(
      "NO_DATA_KEY",
      `AWS KMS does not unwrap the data key with ${keyId} (${name}): ` +
        "another key, another encryption context, or an altered message",
      { cause },
    );
  const attempts =
    cause.attempts === undefined || cause.attempts < 2 ? "" : ` after ${cause.attempts} attempts`;
  return new FramesealError("KEY_SERVICE", `AWS KMS could not ${verb} ${keyId}: ${name}${attempts}`, {
    cause,
  });
}

/** What is known of a failed call. */
interface KmsFailureCause extends Error {
  httpStatusCode?: number;
  requestId?: string;
  attempts?: number;
  code?: string;
}

// Errors of the SDK hold the raw answer, and errors of its parser quote it: a data key may be in there. Only the
// message of an error that KMS itself reported is kept.
function withoutAnswer(error: unknown, name: string): KmsFailureCause {
  const { $fault, $metadata, code, message } = Object(error) as Record<string, unknown>;
  const fromService = typeof $fault === "string" && name !== "SyntaxError" && typeof message === "string";
  const cause: KmsFailureCause = new Error(fromService ? shorten(`${name}: ${message}`) : name);
  cause.name = name;
  const { httpStatusCode, requestId, attempts } = Object($metadata) as Record<string, unknown>;
  if (typeof httpStatusCode === "number") cause.httpStatusCode = httpStatusCode;
  if (typeof requestId === "string") cause.requestId = shorten(requestId, 100);
  if (typeof attempts === "number") cause.attempts = attempts;
  if (typeof code === "string" && /^[A-Z_]{1,40}$/.test(code)) cause.code = code; // ECONNREFUSED and the like
  return cause;
}
