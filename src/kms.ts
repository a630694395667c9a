// `frameseal/kms`: AWS KMS. Needs `@aws-sdk/client-kms`, which is the user's to install.
export {
  type KmsClient,
  type KmsClientSupplier,
  type KmsDiscoveryOptions,
  KmsKeyring,
  type KmsKeyringOptions,
  type KmsStrictOptions,
} from "./keyring/kms-keyring.ts";
