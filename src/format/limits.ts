// Every maximum, with the clause it comes from. Lengths are bytes.

/** Default length of a frame: 0.05 % overhead, 256 TiB a message. */
export const DEFAULT_FRAME_LENGTH = 65_536;
/** Frame lengths written are multiples of this (the AWS Encryption SDK for Python demands it). */
export const FRAME_LENGTH_MULTIPLE = 16;
/** Frames a message may have when written: Java's reader refuses a final frame numbered 2^32 − 1. */
export const MAX_FRAME_COUNT_WRITTEN = 2 ** 32 - 2;
/** Frames a message may have when read: the sequence number has 4 bytes and starts at 1. */
export const MAX_FRAME_COUNT_READ = 2 ** 32 - 1;
/** Bytes of one call of a hash, a signature or a cipher of Node: OpenSSL takes less than 2 GiB. */
export const MAX_UPDATE_LENGTH = 2 ** 30;
/** Largest frame when neither side says otherwise, when writing and when reading. */
export const DEFAULT_MAX_FRAME_LENGTH = 64 * 1024 * 1024;
/** Largest frame length that every official reader accepts. */
export const MAX_FRAME_LENGTH = 2 ** 31 - 16;
/** Largest header when the caller does not say otherwise. A hostile one could claim 12.9 GB. */
export const DEFAULT_MAX_HEADER_LENGTH = 1024 * 1024;
/** Encrypted data keys of a message when the caller does not say otherwise. The format allows 65,535. */
export const DEFAULT_MAX_ENCRYPTED_DATA_KEYS = 16;
/** Encrypted data keys the format can count. */
export const MAX_ENCRYPTED_DATA_KEYS = 65_535;
/** Serialized encryption context, each key and each value: lengths have 2 bytes. */
export const MAX_UINT16 = 65_535;
/** Non-framed bodies are read whole, since nothing of them may be released before the tag: capped. */
export const DEFAULT_MAX_NON_FRAMED_LENGTH = 64 * 1024 * 1024;
/** Signatures are at most this long: DER of two 48-byte integers needs 104 bytes. */
export const MAX_SIGNATURE_LENGTH = 256;
