// Names and numbers of `@aws-crypto/client-node`, as values with the same spelling.
import { type CommitmentPolicy as Policy, suiteById } from "../format/suite.ts";

const idsByName = {
  ALG_AES128_GCM_IV12_TAG16: 0x0014,
  ALG_AES192_GCM_IV12_TAG16: 0x0046,
  ALG_AES256_GCM_IV12_TAG16: 0x0078,
  ALG_AES128_GCM_IV12_TAG16_HKDF_SHA256: 0x0114,
  ALG_AES192_GCM_IV12_TAG16_HKDF_SHA256: 0x0146,
  ALG_AES256_GCM_IV12_TAG16_HKDF_SHA256: 0x0178,
  ALG_AES128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256: 0x0214,
  ALG_AES192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384: 0x0346,
  ALG_AES256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384: 0x0378,
  ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY: 0x0478,
  ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY_ECDSA_P384: 0x0578,
} as const;

/** Algorithm suites by the peer's names, and the names by number. */
export const AlgorithmSuiteIdentifier: typeof idsByName & Readonly<Record<number, string>> = Object.freeze({
  ...Object.fromEntries(Object.entries(idsByName).map(([name, id]) => [id, name])),
  ...idsByName,
});
export type AlgorithmSuiteIdentifier = (typeof idsByName)[keyof typeof idsByName];

/** Commitment policies by the peer's names. */
export const CommitmentPolicy = Object.freeze({
  FORBID_ENCRYPT_ALLOW_DECRYPT: "FORBID_ENCRYPT_ALLOW_DECRYPT",
  REQUIRE_ENCRYPT_ALLOW_DECRYPT: "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  REQUIRE_ENCRYPT_REQUIRE_DECRYPT: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
} as const satisfies Record<Policy, Policy>);
export type CommitmentPolicy = Policy;

/** Wrapping suites of `RawAesKeyringNode`. */
export const RawAesWrappingSuiteIdentifier = Object.freeze({
  AES128_GCM_IV12_TAG16_NO_PADDING: 0x0014,
  AES192_GCM_IV12_TAG16_NO_PADDING: 0x0046,
  AES256_GCM_IV12_TAG16_NO_PADDING: 0x0078,
} as const);
export type RawAesWrappingSuiteIdentifier =
  (typeof RawAesWrappingSuiteIdentifier)[keyof typeof RawAesWrappingSuiteIdentifier];

/** Signature policies by the peer's names; `decryptUnsignedMessageStream` has the second. */
export const SignaturePolicy = Object.freeze({
  ALLOW_ENCRYPT_ALLOW_DECRYPT: "ALLOW_ENCRYPT_ALLOW_DECRYPT",
  ALLOW_ENCRYPT_FORBID_DECRYPT: "ALLOW_ENCRYPT_FORBID_DECRYPT",
} as const);
export type SignaturePolicy = keyof typeof SignaturePolicy;

/** Header versions by the peer's names. */
export const MessageFormat = Object.freeze({ V1: 1, V2: 2 } as const);
export type MessageFormat = (typeof MessageFormat)[keyof typeof MessageFormat];

/**
 * The strictest policy under which a suite can be written.
 * @throws FramesealError UNSUPPORTED for an id that is no suite
 */
export function getCompatibleCommitmentPolicy(suiteId: number): CommitmentPolicy {
  return suiteById(suiteId).commitment === "key"
    ? CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    : CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT;
}

/** What the peer writes when no suite is named: a signed one. */
export function peerDefaultSuite(policy: Policy): number {
  return policy === "FORBID_ENCRYPT_ALLOW_DECRYPT" ? 0x0378 : 0x0578;
}
