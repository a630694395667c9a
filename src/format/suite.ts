// The algorithm suites of AWS Encryption SDK messages: id -> lengths, key derivation, commitment, signature.
import { type Check, oneOf, wholeNumber } from "../check-options.ts";
import { FramesealError } from "../errors.ts";
import { quote } from "../quote.ts";

export type Curve = "P-256" | "P-384";

/** One algorithm suite. All of them encrypt with AES-GCM, 12-byte nonces and 16-byte tags. */
export interface AlgorithmSuite {
  readonly id: number;
  /** The name the AWS Encryption SDK gives it. */
  readonly name: string;
  /** Header version, and with it the length of the message id. */
  readonly version: 1 | 2;
  readonly messageIdLength: 16 | 32;
  /** Length of the data key and of the message key. */
  readonly keyLength: 16 | 24 | 32;
  readonly kdf: "none" | "sha256" | "sha384" | "sha512";
  readonly commitment: "none" | "key";
  readonly signature: "none" | { readonly curve: Curve; readonly hash: "sha256" | "sha384" };
}

type Kdf = AlgorithmSuite["kdf"];
const P256 = { curve: "P-256", hash: "sha256" } as const;
const P384 = { curve: "P-384", hash: "sha384" } as const;

function version1(
  id: number,
  name: string,
  keyLength: 16 | 24 | 32,
  kdf: Kdf,
  signature: AlgorithmSuite["signature"],
): AlgorithmSuite {
  return { id, name, version: 1, messageIdLength: 16, keyLength, kdf, commitment: "none", signature };
}
function version2(id: number, name: string, signature: AlgorithmSuite["signature"]): AlgorithmSuite {
  const lengths = { version: 2, messageIdLength: 32, keyLength: 32 } as const;
  return { id, name, ...lengths, kdf: "sha512", commitment: "key", signature };
}

/** All suites that can be read. */
export const suites: readonly AlgorithmSuite[] = [
  version1(0x0014, "AES_128_GCM_IV12_TAG16_NO_KDF", 16, "none", "none"),
  version1(0x0046, "AES_192_GCM_IV12_TAG16_NO_KDF", 24, "none", "none"),
  version1(0x0078, "AES_256_GCM_IV12_TAG16_NO_KDF", 32, "none", "none"),
  version1(0x0114, "AES_128_GCM_IV12_TAG16_HKDF_SHA256", 16, "sha256", "none"),
  version1(0x0146, "AES_192_GCM_IV12_TAG16_HKDF_SHA256", 24, "sha256", "none"),
  version1(0x0178, "AES_256_GCM_IV12_TAG16_HKDF_SHA256", 32, "sha256", "none"),
  version1(0x0214, "AES_128_GCM_IV12_TAG16_HKDF_SHA256_ECDSA_P256", 16, "sha256", P256),
  version1(0x0346, "AES_192_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 24, "sha384", P384),
  version1(0x0378, "AES_256_GCM_IV12_TAG16_HKDF_SHA384_ECDSA_P384", 32, "sha384", P384),
  version2(0x0478, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY", "none"),
  version2(0x0578, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384", P384),
];

const byId = new Map(suites.map((suite) => [suite.id, suite]));

/**
 * The suite with this id.
 * @throws FramesealError UNSUPPORTED for any other id.
 */
export function suiteById(id: number): AlgorithmSuite {
  const suite = byId.get(id);
  if (suite === undefined)
    throw new FramesealError("UNSUPPORTED", `algorithm suite ${formatSuiteId(id)} is not supported`);
  return suite;
}

/** `0x0478`, as in the specification. */
export function formatSuiteId(id: number): string {
  return `0x${id.toString(16).padStart(4, "0")}`;
}

/** Which suites may be written and read. (client-side commitment policies of the AWS Encryption SDK) */
export type CommitmentPolicy =
  | "REQUIRE_ENCRYPT_REQUIRE_DECRYPT"
  | "REQUIRE_ENCRYPT_ALLOW_DECRYPT"
  | "FORBID_ENCRYPT_ALLOW_DECRYPT";

export const DEFAULT_COMMITMENT_POLICY: CommitmentPolicy = "REQUIRE_ENCRYPT_REQUIRE_DECRYPT";
export const COMMITMENT_POLICIES: readonly string[] = [
  "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
  "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  "FORBID_ENCRYPT_ALLOW_DECRYPT",
];

/** The id of a suite, known or not. */
export const suiteOption: Check = wholeNumber(0, 0xffff);
export const policyOption: Check = oneOf(...COMMITMENT_POLICIES);

/** @throws TypeError unless `policy` is one of the three. */
export function checkPolicyName(policy: string): asserts policy is CommitmentPolicy {
  if (!COMMITMENT_POLICIES.includes(policy))
    throw new TypeError(
      `"commitmentPolicy" expected one of ${COMMITMENT_POLICIES.join(", ")}, got ${quote(String(policy))}`,
    );
}

/** The suite written when the caller names none: never a signed one, never one without key derivation. */
export function defaultSuite(policy: CommitmentPolicy): AlgorithmSuite {
  return suiteById(policy === "FORBID_ENCRYPT_ALLOW_DECRYPT" ? 0x0178 : 0x0478);
}

/**
 * Checks that `policy` allows to write `suite`, and that the suite derives its key: without derivation a cached or
 * custom data key would repeat frame nonces.
 * @throws FramesealError POLICY
 */
export function checkSuiteForWriting(suite: AlgorithmSuite, policy: CommitmentPolicy): void {
  if (suite.kdf === "none")
    throw new FramesealError(
      "POLICY",
      `suite ${formatSuiteId(suite.id)} has no key derivation: it can be read, but is never written`,
    );
  const mustCommit = policy !== "FORBID_ENCRYPT_ALLOW_DECRYPT";
  if (mustCommit !== (suite.commitment === "key"))
    throw new FramesealError(
      "POLICY",
      `commitment policy ${policy} does not allow to write suite ${formatSuiteId(suite.id)}`,
    );
}

/**
 * Checks that `policy` allows to read `suite`.
 * @throws FramesealError POLICY
 */
export function checkSuiteForReading(suite: AlgorithmSuite, policy: CommitmentPolicy): void {
  if (policy === "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" && suite.commitment === "none")
    throw new FramesealError(
      "POLICY",
      `commitment policy ${policy} does not allow to read suite ${formatSuiteId(suite.id)}`,
    );
}
