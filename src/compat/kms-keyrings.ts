// The peer's KMS keyrings, with its option names. `@aws-sdk/client-kms` is a peer of this package that not everyone
// installs, so the code that names it is loaded when a keyring is first used.
import {
  type Check,
  type Checks,
  callback,
  checkKnownOptions,
  describe,
  filledListOf,
  flag,
  listOf,
  listOfStrings,
  needed,
  text,
  withFunctions,
  within,
  wrong,
} from "../check-options.ts";
import type { EncryptedDataKey as Edk } from "../format/encrypted-data-key.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "../keyring/keyring.ts";
import { isMultiRegionKey, parseKmsArn } from "../keyring/kms-arn.ts";
import type { KmsClient, KmsKeyringOptions } from "../keyring/kms-keyring.ts";
import { takeGeneratedKey, takeUnwrappedKey, takeWrappedKeys } from "../keyring/take-data-key.ts";
import { quote } from "../quote.ts";
import { untilAborted } from "../until-aborted.ts";
import { needs } from "./helpers.ts";
import { WrappedKeyring } from "./keyring-node.ts";
import { cacheClients, cacheKmsClients, type KmsClientSupplier } from "./kms-clients.ts";
import { orNothing } from "./peer-options.ts";
import { MultiKeyringNode } from "./raw-keyrings.ts";

/** Which keys a discovery keyring may ask. The peer does without; here it is needed. */
export interface DiscoveryFilter {
  readonly accountIDs: readonly string[];
  readonly partition: string;
}

const keyId: Check = (name, value) => {
  if (typeof value !== "string" || value === "") throw wrong(name, "names of KMS keys", value);
  if (value.startsWith("arn:") && parseKmsArn(value) === undefined)
    throw new RangeError(`"${name}" expected an ARN of KMS, got ${describe(value)}`);
  return value;
};
const account: Check = (name, value) => {
  if (typeof value !== "string" || !/^[0-9]{12}$/.test(value))
    throw wrong(name, "accounts of 12 digits", value);
  return value;
};
const FILTER: Checks<DiscoveryFilter> = {
  accountIDs: needed(within("discoveryFilter", filledListOf(account))),
  partition: needed(within("discoveryFilter", text)),
};
// Without a filter, whoever writes a message chooses the key that is asked.
const filter: Check = (name, value) => {
  if (typeof value !== "object" || value === null)
    throw wrong(name, "a partition and at least one account of 12 digits", value);
  return Object.freeze(checkKnownOptions(name, value as DiscoveryFilter, FILTER));
};
const client: Check = needed(withFunctions("a KMS client", "send"));
const grantTokens = listOfStrings;

/** Options of `KmsKeyringNode`. */
export interface KmsKeyringNodeInput {
  /** By default clients of `@aws-sdk/client-kms`, one a region. */
  readonly clientProvider?: KmsClientSupplier | undefined;
  readonly generatorKeyId?: string | undefined;
  readonly keyIds?: readonly string[] | undefined;
  readonly grantTokens?: readonly string[] | undefined;
  readonly discovery?: boolean | undefined;
  readonly discoveryFilter?: DiscoveryFilter | undefined;
}

/** What the options must be. */
const KEYRING_INPUT: Checks<KmsKeyringNodeInput> = {
  clientProvider: callback,
  generatorKeyId: orNothing(keyId),
  keyIds: listOf(keyId),
  grantTokens,
  discovery: orNothing(flag),
  discoveryFilter: orNothing(filter),
};

/** A KMS keyring in the peer's shape: for named keys, or with `discovery` for opening alone. */
export class KmsKeyringNode extends WrappedKeyring {
  readonly clientProvider: KmsClientSupplier;
  readonly generatorKeyId: string | undefined;
  readonly keyIds: readonly string[];
  readonly isDiscovery: boolean;
  readonly discoveryFilter: DiscoveryFilter | undefined;

  /** @throws TypeError, RangeError; what only `@aws-sdk/client-kms` can tell comes with the first use */
  constructor(input: KmsKeyringNodeInput) {
    const {
      clientProvider = cacheKmsClients,
      generatorKeyId,
      keyIds = [],
      grantTokens,
      discovery = false,
      discoveryFilter,
    } = checkKnownOptions("input", input, KEYRING_INPUT);
    const isNamed = generatorKeyId !== undefined || keyIds.length > 0;
    needs(discovery || isNamed, '"keyIds", "generatorKeyId" or "discovery" expected, got none', TypeError);
    needs(
      !discovery || !isNamed,
      '"discovery" expected no "generatorKeyId" or "keyIds" beside it',
      TypeError,
    );
    needs(discovery || !discoveryFilter, '"discoveryFilter" expected "discovery" beside it', TypeError);
    const common = { client: regionalClient(clientProvider), grantTokens };
    if (discovery) {
      const ours = ourFilter(filter("discoveryFilter", discoveryFilter) as DiscoveryFilter);
      super(new DiscoveryKeyring(async () => ({ ...common, discovery: ours })));
    } else super(new LazyKmsKeyring(async () => ({ ...common, generatorKeyId, keyIds })));
    this.clientProvider = clientProvider;
    this.generatorKeyId = generatorKeyId;
    this.keyIds = Object.freeze(keyIds);
    this.isDiscovery = discovery;
    this.discoveryFilter = discoveryFilter;
  }
}

/** Options of `AwsKmsMrkAwareSymmetricKeyringNode`. */
export interface AwsKmsMrkAwareSymmetricKeyringNodeInput {
  readonly keyId: string;
  readonly client: KmsClient;
  readonly grantTokens?: readonly string[] | undefined;
}

const MRK_INPUT: Checks<AwsKmsMrkAwareSymmetricKeyringNodeInput> = {
  keyId: needed(keyId),
  client,
  grantTokens,
};

/** A KMS keyring for one key that also opens what replicas of it have wrapped. */
export class AwsKmsMrkAwareSymmetricKeyringNode extends WrappedKeyring {
  readonly keyId: string;

  /** @throws TypeError, RangeError */
  constructor(input: AwsKmsMrkAwareSymmetricKeyringNodeInput) {
    const { keyId, client, grantTokens } = checkKnownOptions("input", input, MRK_INPUT);
    super(
      new LazyKmsKeyring(async () => ({
        client,
        generatorKeyId: keyId,
        grantTokens,
        multiRegionKeys: "related",
      })),
    );
    this.keyId = keyId;
  }
}

/** Options of `AwsKmsMrkAwareSymmetricDiscoveryKeyringNode`. */
export interface AwsKmsMrkAwareSymmetricDiscoveryKeyringNodeInput {
  /** Its region is the one whose replicas are asked. */
  readonly client: KmsClient & { readonly config: { readonly region: string | (() => Promise<string>) } };
  readonly discoveryFilter: DiscoveryFilter;
  readonly grantTokens?: readonly string[] | undefined;
}

const MRK_DISCOVERY_INPUT: Checks<AwsKmsMrkAwareSymmetricDiscoveryKeyringNodeInput> = {
  client,
  discoveryFilter: needed(filter),
  grantTokens,
};

/** A KMS keyring that opens with the keys of one region, replicas of keys of other regions included. */
export class AwsKmsMrkAwareSymmetricDiscoveryKeyringNode extends WrappedKeyring {
  readonly discoveryFilter: DiscoveryFilter;

  /** @throws TypeError, RangeError */
  constructor(input: AwsKmsMrkAwareSymmetricDiscoveryKeyringNodeInput) {
    const { client, discoveryFilter, grantTokens } = checkKnownOptions("input", input, MRK_DISCOVERY_INPUT);
    const ours = ourFilter(discoveryFilter);
    super(
      new LazyKmsKeyring(async () => {
        const { region } = client.config;
        return {
          client,
          grantTokens,
          discovery: { ...ours, region: typeof region === "string" ? region : await region() },
        };
      }),
    );
    this.discoveryFilter = discoveryFilter;
  }
}

/** Options of `buildAwsKmsMrkAwareStrictMultiKeyringNode`. */
export interface AwsKmsMrkAwareStrictMultiKeyringInput {
  readonly generatorKeyId?: string | undefined;
  readonly keyIds?: readonly string[] | undefined;
  readonly clientProvider?: KmsClientSupplier | undefined;
  readonly grantTokens?: readonly string[] | undefined;
}
const STRICT_MULTI_INPUT: Checks<AwsKmsMrkAwareStrictMultiKeyringInput> = {
  generatorKeyId: orNothing(keyId),
  keyIds: listOf(keyId),
  clientProvider: callback,
  grantTokens,
};

/**
 * A multi-keyring of one multi-region aware keyring for each key.
 * @throws TypeError, RangeError
 */
export function buildAwsKmsMrkAwareStrictMultiKeyringNode(
  input: AwsKmsMrkAwareStrictMultiKeyringInput,
): MultiKeyringNode {
  const {
    generatorKeyId,
    keyIds = [],
    clientProvider = cacheKmsClients,
    grantTokens,
  } = checkKnownOptions("input", input, STRICT_MULTI_INPUT);
  const named = generatorKeyId === undefined ? keyIds : [generatorKeyId, ...keyIds];
  needs(named.length > 0, '"generatorKeyId" or "keyIds" expected, got none', TypeError);
  const multiRegion = named.map(parseKmsArn).filter((arn) => arn !== undefined && isMultiRegionKey(arn));
  needs(
    new Set(multiRegion.map((arn) => arn?.id)).size === multiRegion.length,
    '"keyIds" expected one replica of each multi-region key',
    RangeError,
  );
  const create = (keyId: string): AwsKmsMrkAwareSymmetricKeyringNode => {
    const client = clientProvider(regionOf(keyId));
    needs(client, `"clientProvider" expected a client for ${keyId}, got none`, TypeError);
    return new AwsKmsMrkAwareSymmetricKeyringNode({ keyId, client, grantTokens });
  };
  return new MultiKeyringNode({
    generator: generatorKeyId === undefined ? undefined : create(generatorKeyId),
    children: keyIds.map(create),
  });
}

/** Options of `buildAwsKmsMrkAwareDiscoveryMultiKeyringNode`. */
export interface AwsKmsMrkAwareDiscoveryMultiKeyringInput {
  readonly regions: readonly string[];
  readonly discoveryFilter: DiscoveryFilter;
  readonly clientProvider?: KmsClientSupplier | undefined;
  readonly grantTokens?: readonly string[] | undefined;
}
const DISCOVERY_MULTI_INPUT: Checks<AwsKmsMrkAwareDiscoveryMultiKeyringInput> = {
  regions: needed(filledListOf(text)),
  discoveryFilter: needed(filter),
  clientProvider: callback,
  grantTokens,
};

/**
 * A multi-keyring of one discovery keyring for each region.
 * @throws TypeError, RangeError
 */
export function buildAwsKmsMrkAwareDiscoveryMultiKeyringNode(
  input: AwsKmsMrkAwareDiscoveryMultiKeyringInput,
): MultiKeyringNode {
  const {
    regions,
    discoveryFilter,
    clientProvider = cacheKmsClients,
    grantTokens,
  } = checkKnownOptions("input", input, DISCOVERY_MULTI_INPUT);
  const children = regions.map((region) => {
    const client = clientProvider(region);
    needs(client, `"clientProvider" expected a client for ${region}, got none`, TypeError);
    // The region that was asked for, whatever the client would say.
    const regional = { send: client.send.bind(client) as KmsClient["send"], config: { region } };
    return new AwsKmsMrkAwareSymmetricDiscoveryKeyringNode({
      client: regional,
      discoveryFilter,
      grantTokens,
    });
  });
  return new MultiKeyringNode({ children });
}

/** Our KMS keyring, made when it is first used. */
class LazyKmsKeyring implements Keyring {
  readonly #options: () => Promise<KmsKeyringOptions>;
  #made: Promise<Keyring> | undefined;

  constructor(options: () => Promise<KmsKeyringOptions>) {
    this.#options = options;
  }
  async #create(): Promise<Keyring> {
    const { KmsKeyring } = await import("../keyring/kms-keyring.ts");
    return new KmsKeyring(await this.#options());
  }
  // Asking the client for its region may take any time.
  #keyring({ signal }: DataKeyRequest): Promise<Keyring> {
    this.#made ??= this.#create();
    return untilAborted(this.#made, signal);
  }
  async generateDataKey(request: DataKeyRequest): Promise<GeneratedDataKey> {
    return takeGeneratedKey(await this.#keyring(request), request);
  }
  async wrapDataKey(dataKey: Uint8Array, request: DataKeyRequest): Promise<readonly Edk[]> {
    return takeWrappedKeys(await this.#keyring(request), dataKey, request);
  }
  async unwrapDataKey(
    encryptedDataKeys: readonly Edk[],
    request: DataKeyRequest,
  ): Promise<Uint8Array | null> {
    return takeUnwrappedKey(await this.#keyring(request), encryptedDataKeys, request);
  }
}

/** As a child of a multi-keyring, a discovery keyring of the peer adds nothing when writing, and that is no error. */
class DiscoveryKeyring extends LazyKmsKeyring {
  override async wrapDataKey(): Promise<readonly Edk[]> {
    return [];
  }
}

// One client that sends each call to the region of its key, so that keys without a region can be named too.
function regionalClient(supplier: KmsClientSupplier): KmsClient {
  const clients = cacheClients(supplier);
  // Not async: an answer is taken in the moment it arrives.
  const send = (...[command, options]: [{ input: { KeyId?: string } }, unknown]): Promise<unknown> => {
    const keyId = command.input.KeyId ?? "";
    const client = clients(regionOf(keyId));
    needs(client, `"clientProvider" has no client for ${quote(keyId)}`);
    return client.send(command as never, options as never);
  };
  return { send: send as unknown as KmsClient["send"] };
}

function regionOf(keyId: string): string {
  return parseKmsArn(keyId)?.region ?? "";
}

function ourFilter({ partition, accountIDs }: DiscoveryFilter): {
  partition: string;
  accountIds: readonly string[];
} {
  return { partition, accountIds: accountIDs };
}
