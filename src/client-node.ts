// `frameseal/client-node`: the surface of `@aws-crypto/client-node`, so that changing the import is the migration.
export {
  buildClient,
  buildDecrypt,
  buildEncrypt,
  type Client,
  type ClientOptions,
  type DecryptInput,
  type EncryptInput,
  type Input,
  type MessageHeader,
} from "./compat/client.ts";
export {
  immutableClass,
  KeyringTraceFlag,
  NotSupported,
  needs,
  oaepHashSupported,
  readOnlyProperty,
} from "./compat/helpers.ts";
export {
  EncryptedDataKey,
  KeyringNode,
  type KeyringTrace,
  NodeAlgorithmSuite,
  NodeDecryptionMaterial,
  NodeEncryptionMaterial,
  unwrapDataKey,
} from "./compat/keyring-node.ts";
export {
  cacheClients,
  cacheKmsClients,
  excludeRegions,
  getClient,
  getKmsClient,
  type KmsClientSupplier,
  limitRegions,
} from "./compat/kms-clients.ts";
export {
  AwsKmsMrkAwareSymmetricDiscoveryKeyringNode,
  type AwsKmsMrkAwareSymmetricDiscoveryKeyringNodeInput,
  AwsKmsMrkAwareSymmetricKeyringNode,
  type AwsKmsMrkAwareSymmetricKeyringNodeInput,
  buildAwsKmsMrkAwareDiscoveryMultiKeyringNode,
  buildAwsKmsMrkAwareStrictMultiKeyringNode,
  type DiscoveryFilter,
  KmsKeyringNode,
  type KmsKeyringNodeInput,
} from "./compat/kms-keyrings.ts";
export {
  getLocalCryptographicMaterialsCache,
  type KeyringOrManager,
  type LocalCache,
  type MaterialsManager,
  NodeCachingMaterialsManager,
  type NodeCachingMaterialsManagerInput,
  NodeDefaultCryptographicMaterialsManager,
} from "./compat/materials-manager.ts";
export {
  MultiKeyringNode,
  RawAesKeyringNode,
  type RawAesKeyringNodeInput,
  RawRsaKeyringNode,
  type RawRsaKeyringNodeInput,
} from "./compat/raw-keyrings.ts";
export {
  AlgorithmSuiteIdentifier,
  CommitmentPolicy,
  getCompatibleCommitmentPolicy,
  MessageFormat,
  RawAesWrappingSuiteIdentifier,
  SignaturePolicy,
} from "./compat/suites.ts";
export type { EncryptionContext } from "./format/encryption-context.ts";
