// The public API, by name.

export type {
  AeadKey,
  Engine,
  EngineInfo,
  FrameCipher,
  FrameFormat,
  GcmOpener,
  GcmSealer,
  OpenedFrames,
} from "./engine/engine.ts";
export { keepFreedMemory } from "./engine/native/freed-memory.ts";
export { createEngine, engineInfo } from "./engine/select-engine.ts";
export { type ErrorCode, FramesealError } from "./errors.ts";
export {
  type DecryptFileOptions,
  decryptFile,
  type EncryptFileOptions,
  encryptFile,
  type FileOptions,
  type FileResult,
  type InspectedFile,
  type InspectFileOptions,
  inspectFile,
  type VerifyFileOptions,
  verifyFile,
} from "./file/file.ts";
export type { FileEnd } from "./file/source.ts";
export type { EncryptedDataKey } from "./format/encrypted-data-key.ts";
export type { EncryptionContext } from "./format/encryption-context.ts";
export type { HeaderLimits, MessageHeader, ReadLimits } from "./format/header.ts";
export type { AlgorithmSuite, CommitmentPolicy } from "./format/suite.ts";
export { CachingKeyring, type CachingKeyringOptions } from "./keyring/caching-keyring.ts";
export {
  type AesKeyFileOptions,
  type KeyFileOptions,
  keyringFromKeyFile,
  type RsaKeyFileOptions,
  writeAesKeyFile,
  writeRsaKeyFiles,
} from "./keyring/key-file.ts";
export type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring/keyring.ts";
export { MultiKeyring, type MultiKeyringOptions } from "./keyring/multi-keyring.ts";
export { RawAesKeyring, type RawAesKeyringOptions } from "./keyring/raw-aes-keyring.ts";
export { RawRsaKeyring, type RawRsaKeyringOptions, type RsaPadding } from "./keyring/raw-rsa-keyring.ts";
export type { SkippedKeys } from "./keyring/skipped-keys.ts";
export { ciphertextLength, type LengthOptions, plaintextLength } from "./message/lengths.ts";
export type { DecryptOptions } from "./message/open-message.ts";
export type { EncryptOptions } from "./message/seal-message.ts";
export {
  type MessageReader,
  type OpenMessageOptions,
  openMessage,
  type RangeReadOptions,
  type RangeStreamOptions,
} from "./reader/message-reader.ts";
export type { MessageSource } from "./reader/message-source.ts";
export { createDecryptStream, type DecryptStreamOptions } from "./stream/decrypt-stream.ts";
export {
  createEncryptStream,
  type EncryptStreamOptions,
  type PreparedMessage,
  prepareMessage,
} from "./stream/encrypt-stream.ts";
export type { FrameTransform } from "./stream/frame-transform.ts";
export { decryptWebStream, encryptWebStream, type FrameTransformStream } from "./stream/web-streams.ts";
export {
  type BytesSource,
  type DecryptedMessage,
  decrypt,
  encrypt,
  inspectHeader,
} from "./stream/whole-message.ts";
