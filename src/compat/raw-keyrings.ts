// The peer's raw keyrings and multi-keyring, with its option names.
import { constants, type KeyObject } from "node:crypto";
import {
  asItIs,
  bytes,
  type Check,
  type Checks,
  checkKnownOptions,
  describe,
  flag,
  needed,
  oneOf,
} from "../check-options.ts";
import type { Keyring } from "../keyring/keyring.ts";
import { MULTI_KEYRING_OPTIONS, MultiKeyring, type MultiKeyringOptions } from "../keyring/multi-keyring.ts";
import { RawAesKeyring } from "../keyring/raw-aes-keyring.ts";
import { keyNameOption, keyNamespaceOption } from "../keyring/raw-key.ts";
import { RawRsaKeyring, type RsaPadding } from "../keyring/raw-rsa-keyring.ts";
import { isAllZeros } from "../keyring/take-data-key.ts";
import { WrappedKeyring } from "./keyring-node.ts";
import type { RawAesWrappingSuiteIdentifier } from "./suites.ts";

/** Options of `RawAesKeyringNode`. */
export interface RawAesKeyringNodeInput {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly unencryptedMasterKey: Uint8Array;
  readonly wrappingSuite: RawAesWrappingSuiteIdentifier;
  /** Keys are always wrapped under the context in byte order, as with `true`; `false` also reads the peer's order. */
  readonly utf8Sorting?: boolean | undefined;
  /** `accept`, as `utf8Sorting: false`, reads messages that the peer wrote by default. Not an option of the peer. */
  readonly localeSortedContext?: "refuse" | "accept" | undefined;
}

const wrappingSuite: Check = (name, value) => {
  if (!wrappingKeyLengths.has(value as number))
    throw new RangeError(`"${name}" expected one of RawAesWrappingSuiteIdentifier, got ${describe(value)}`);
  return value;
};
/** What the options must be. */
const AES_INPUT: Checks<RawAesKeyringNodeInput> = {
  keyNamespace: needed(keyNamespaceOption),
  keyName: needed(keyNameOption),
  unencryptedMasterKey: needed(bytes),
  wrappingSuite: needed(wrappingSuite),
  utf8Sorting: flag,
  localeSortedContext: oneOf("refuse", "accept"),
};

const wrappingKeyLengths = new Map<number, number>([
  [0x0014, 16],
  [0x0046, 24],
  [0x0078, 32],
]);

/** A raw AES keyring in the peer's shape. */
export class RawAesKeyringNode extends WrappedKeyring {
  readonly keyNamespace: string;
  readonly keyName: string;

  /** @throws TypeError, RangeError */
  constructor(givenInput: RawAesKeyringNodeInput) {
    const input = checkKnownOptions("input", givenInput, AES_INPUT);
    const { keyNamespace, keyName, unencryptedMasterKey, wrappingSuite } = input;
    const localeSortedContext =
      input.localeSortedContext ?? (input.utf8Sorting === false ? "accept" : "refuse");
    const length = wrappingKeyLengths.get(wrappingSuite);
    if (unencryptedMasterKey.length !== length)
      throw new RangeError(
        `"unencryptedMasterKey" expected ${length} bytes, got ${unencryptedMasterKey.length}`,
      );
    if (isAllZeros(unencryptedMasterKey))
      throw new RangeError('"unencryptedMasterKey" expected a secret key, got all zeros');
    super(
      new RawAesKeyring({ keyNamespace, keyName, wrappingKey: unencryptedMasterKey, localeSortedContext }),
    );
    this.keyNamespace = keyNamespace;
    this.keyName = keyName;
  }
}

/** Options of `RawRsaKeyringNode`. */
export interface RawRsaKeyringNodeInput {
  readonly keyNamespace: string;
  readonly keyName: string;
  readonly rsaKey: {
    readonly publicKey?: string | Buffer | KeyObject | undefined;
    readonly privateKey?: string | Buffer | KeyObject | undefined;
  };
  /** A constant of node:crypto; by default RSA_PKCS1_OAEP_PADDING. */
  readonly padding?: number | undefined;
  /** By default `sha1`. */
  readonly oaepHash?: "sha1" | "sha256" | "sha384" | "sha512" | undefined;
}

const RSA_KEY: Checks<RawRsaKeyringNodeInput["rsaKey"]> = { publicKey: asItIs, privateKey: asItIs };
/** What the options must be; keys and padding are looked at where they are used, at once. */
const RSA_INPUT: Checks<RawRsaKeyringNodeInput> = {
  keyNamespace: needed(keyNamespaceOption),
  keyName: needed(keyNameOption),
  rsaKey: needed((name, value) => {
    const keys = checkKnownOptions(name, value as RawRsaKeyringNodeInput["rsaKey"], RSA_KEY);
    if (keys.publicKey === undefined && keys.privateKey === undefined)
      throw new TypeError(`"${name}" expected "publicKey" or "privateKey", got neither`);
    return keys;
  }),
  padding: asItIs,
  oaepHash: asItIs,
};

const oaepPaddings: ReadonlyMap<string, RsaPadding> = new Map([
  ["sha1", "OAEP-SHA-1"],
  ["sha256", "OAEP-SHA-256"],
  ["sha384", "OAEP-SHA-384"],
  ["sha512", "OAEP-SHA-512"],
]);

/** A raw RSA keyring in the peer's shape. */
export class RawRsaKeyringNode extends WrappedKeyring {
  readonly keyNamespace: string;
  readonly keyName: string;

  /** @throws TypeError, RangeError */
  constructor(givenInput: RawRsaKeyringNodeInput) {
    const input = checkKnownOptions("input", givenInput, RSA_INPUT);
    const { keyNamespace, keyName, rsaKey } = input;
    const padding = rsaPadding(input);
    super(new RawRsaKeyring({ keyNamespace, keyName, ...rsaKey, padding }));
    this.keyNamespace = keyNamespace;
    this.keyName = keyName;
  }
}

function rsaPadding({ padding, oaepHash }: RawRsaKeyringNodeInput): RsaPadding {
  if (padding === constants.RSA_PKCS1_PADDING) {
    if (oaepHash !== undefined) throw new TypeError('"oaepHash" expected nothing beside RSA_PKCS1_PADDING');
    return "PKCS1";
  }
  if (padding !== undefined && padding !== constants.RSA_PKCS1_OAEP_PADDING)
    throw new RangeError(
      `"padding" expected RSA_PKCS1_OAEP_PADDING or RSA_PKCS1_PADDING, got ${describe(padding)}`,
    );
  const name = oaepPaddings.get(oaepHash === undefined ? "sha1" : oaepHash);
  if (name === undefined)
    throw new RangeError(`"oaepHash" expected sha1, sha256, sha384 or sha512, got ${describe(oaepHash)}`);
  return name;
}

/** A multi-keyring in the peer's shape. */
export class MultiKeyringNode extends WrappedKeyring {
  readonly generator: Keyring | undefined;
  readonly children: readonly Keyring[];

  /** @throws TypeError */
  constructor(input: MultiKeyringOptions) {
    const keyring = new MultiKeyring(checkKnownOptions("input", input, MULTI_KEYRING_OPTIONS));
    super(keyring);
    this.generator = keyring.generator;
    this.children = keyring.children;
  }
}
