// The header of a message as `inspect` shows it, for messages in files and in S3.
import type { EncryptedDataKey } from "../format/encrypted-data-key.ts";
import type { MessageHeader } from "../format/header.ts";
import { formatSuiteId } from "../format/suite.ts";
import { rawAesKeyName } from "../keyring/raw-aes-info.ts";
import { plaintextLength } from "../message/lengths.ts";
import { formatBytes, print } from "./output.ts";
import { bounded } from "./visible.ts";

/** A header as JSON prints it. */
export interface HeaderDescription {
  readonly version: number;
  readonly suite: string;
  readonly suiteName: string;
  readonly commitment: string;
  readonly signature: string;
  readonly messageId: string;
  readonly encryptionContext: Readonly<Record<string, string>>;
  readonly encryptedDataKeys: readonly EncryptedDataKeyDescription[];
  readonly contentType: string;
  readonly frameLength: number;
  readonly headerLength: number;
  /** Present when the length of the input is known. */
  readonly messageLength?: number;
  /** What a message of that length holds; present for unsigned messages in frames. */
  readonly plaintextLength?: number;
}

/** One wrapped data key. */
export interface EncryptedDataKeyDescription {
  readonly kind: "AWS KMS" | "raw AES" | "raw RSA or other";
  readonly providerId: string;
  readonly keyName: string;
  readonly ciphertextLength: number;
}

/** Describes `header`; `messageLength` is the length of the whole message, if it is known. */
export function describeHeader(
  header: MessageHeader & { readonly headerLength: number; readonly messageLength?: number | undefined },
): HeaderDescription {
  const { suite, headerLength, messageLength } = header;
  const length = messageLength === undefined ? undefined : plaintextOf(header, messageLength);
  return {
    version: header.version,
    suite: formatSuiteId(suite.id),
    suiteName: suite.name,
    commitment: suite.commitment,
    signature: suite.signature === "none" ? "none" : `ECDSA ${suite.signature.curve}`,
    messageId: Buffer.from(header.messageId).toString("hex"),
    encryptionContext: { ...header.encryptionContext },
    encryptedDataKeys: header.encryptedDataKeys.map(describeDataKey),
    contentType: header.contentType,
    frameLength: header.frameLength,
    headerLength,
    ...(messageLength === undefined ? {} : { messageLength }),
    ...(length === undefined ? {} : { plaintextLength: length }),
  };
}

function plaintextOf(
  { suite, contentType, frameLength, headerLength }: MessageHeader & { readonly headerLength: number },
  messageLength: number,
): number | undefined {
  if (contentType !== "framed" || suite.signature !== "none") return undefined;
  try {
    return plaintextLength(messageLength, { headerLength, frameLength, suite: suite.id });
  } catch {
    return undefined; // cut or extended: verify tells
  }
}

function describeDataKey({
  providerId,
  providerInfo,
  ciphertext,
}: EncryptedDataKey): EncryptedDataKeyDescription {
  const aesName = rawAesKeyName(providerInfo);
  const isKms = providerId.startsWith("aws-kms");
  const kind = isKms ? "AWS KMS" : aesName === undefined ? "raw RSA or other" : "raw AES";
  const keyName = aesName ?? Buffer.from(providerInfo).toString("utf8");
  return { kind, providerId, keyName, ciphertextLength: ciphertext.length };
}

/** A value of a header for people, who cannot read kilobytes; `--json` prints all of it. */
export function short(text: string): string {
  return bounded(text, 1000);
}

/** Prints a header as text. */
export function printDescription(header: HeaderDescription): void {
  print(`format          AWS Encryption SDK message, version ${header.version}`);
  print(`suite           ${header.suite} ${header.suiteName}`);
  print(`commitment      ${header.commitment}`);
  print(`signature       ${header.signature}`);
  print(`message id      ${header.messageId}`);
  print(
    `content         ${header.contentType}${header.frameLength > 0 ? `, frames of ${formatBytes(header.frameLength)}` : ""}`,
  );
  print(`header length   ${header.headerLength}`);
  if (header.messageLength !== undefined) print(`message length  ${header.messageLength}`);
  if (header.plaintextLength !== undefined) print(`plaintext       ${header.plaintextLength}`);
  const pairs = Object.entries(header.encryptionContext);
  print(`context         ${pairs.length === 0 ? "none" : ""}`.trimEnd());
  for (const [key, value] of pairs) print(`  ${short(key)} = ${short(value)}`);
  print("data keys");
  for (const key of header.encryptedDataKeys)
    print(
      `  ${key.kind} key ${short(key.keyName)} of ${short(key.providerId)}, ${key.ciphertextLength} bytes`,
    );
  print("Nothing of this is verified: frameseal verify does that, with the key.");
}
