// Arguments beside the options: what is none of what a public function takes is one clear error, at once.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { S3Client } from "@aws-sdk/client-s3";
import { afterAll, expect, test } from "vitest";
import {
  buildClient,
  cacheClients,
  excludeRegions,
  getClient,
  getLocalCryptographicMaterialsCache,
  limitRegions,
  NodeDefaultCryptographicMaterialsManager,
} from "../src/client-node.ts";
import {
  ciphertextLength,
  createEncryptStream,
  createEngine,
  decrypt,
  decryptFile,
  encrypt,
  encryptFile,
  inspectFile,
  inspectHeader,
  keyringFromKeyFile,
  openMessage,
  plaintextLength,
  prepareMessage,
  RawAesKeyring,
  verifyFile,
  writeAesKeyFile,
  writeRsaKeyFiles,
} from "../src/index.ts";
import {
  asCopySource,
  encryptS3Client,
  explainPolicy,
  exportMultipartUpload,
  fileMultipartStates,
  getDefaultEncryption,
  importMultipartUpload,
  rewrapObject,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sqliteMultipartStates,
  sseC,
  sseCVersionFromTags,
  sseCVersionTagging,
  sseS3,
  withSseCKey,
} from "../src/s3.ts";
import { checkMultipartStateStore } from "../src/testing.ts";
import { junk, refusalOf } from "./support/wrong-options.ts";

const folder = mkdtempSync(path.join(tmpdir(), "frameseal-arguments-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => path.join(folder, name);

const keyring = new RawAesKeyring({
  keyNamespace: "n",
  keyName: "k",
  wrappingKey: new Uint8Array(32).fill(1),
});
// Never sent to: a wrong argument is refused before.
const plain = new S3Client({ region: "us-east-1", endpoint: "http://127.0.0.1:1" });
const encrypting = encryptS3Client(plain, { keyring });
const peer = buildClient();
const rewrapWith = { from: keyring, to: keyring };
const masterKeys = [{ masterKey: new Uint8Array(32).fill(1), masterKeyVersion: 1 }];
const supplier = (): undefined => undefined;
const lengths = { headerLength: 100 };

const texts = ["a word", "a number as text", "a lone surrogate"];
const words = ["a word", "a number as text"];
/** A function of its argument, and the junk that is right for it. */
const takers: Readonly<
  Record<string, readonly [call: (value: never) => unknown, right?: readonly string[]]>
> = {
  "encrypt, plaintext": [(value) => encrypt(value, { keyring }), ["bytes", "an array"]],
  "decrypt, message": [(value) => decrypt(value, { keyring }), ["bytes", "an array"]],
  "inspectHeader, source": [(value) => inspectHeader(value), ["bytes"]],
  "openMessage, source": [(value) => openMessage(value, { keyring }), ["bytes", ...words]],
  "createEngine, name": [createEngine],
  "ciphertextLength, length": [(value) => ciphertextLength(value, lengths)],
  "plaintextLength, length": [(value) => plaintextLength(value, lengths)],
  "PreparedMessage.ciphertextLength, length": [
    async (value) => (await prepareMessage({ keyring })).ciphertextLength(value),
  ],
  "FrameTransform.recycle, chunk": [
    (value) =>
      createEncryptStream({ keyring })
        .on("error", () => {})
        .destroy()
        .recycle(value),
    ["bytes"],
  ],
  "encryptFile, from": [(value) => encryptFile(value, at("to"), { keyring }), texts],
  "encryptFile, to": [(value) => encryptFile(at("none"), value, { keyring }), texts],
  "decryptFile, to": [(value) => decryptFile(at("none"), value, { keyring }), texts],
  "verifyFile, from": [(value) => verifyFile(value, { keyring }), texts],
  "inspectFile, from": [(value) => inspectFile(value), texts],
  "keyringFromKeyFile, path": [(value) => keyringFromKeyFile(value), words],
  "writeAesKeyFile, path": [(value) => writeAesKeyFile(value), words],
  "writeRsaKeyFiles, path": [(value) => writeRsaKeyFiles(value), words],
  "encryptS3Client, client": [(value) => encryptS3Client(value, { keyring })],
  "serverSideEncryptS3Client, client": [(value) => serverSideEncryptS3Client(value, sseS3())],
  "rewrapObject, client": [(value) => rewrapObject(value, { bucket: "b", key: "k" }, rewrapWith)],
  "getDefaultEncryption, client": [(value) => getDefaultEncryption(value, "bucket")],
  "getDefaultEncryption, bucket": [(value) => getDefaultEncryption(plain, value), words],
  "setDefaultEncryption, client": [(value) => setDefaultEncryption(value, "b", { encryption: sseS3() })],
  "setDefaultEncryption, bucket": [
    (value) => setDefaultEncryption(plain, value, { encryption: sseS3() }),
    words,
  ],
  "exportMultipartUpload, client": [(value) => exportMultipartUpload(value, "id")],
  "exportMultipartUpload, uploadId": [(value) => exportMultipartUpload(encrypting, value), words],
  "importMultipartUpload, state": [(value) => importMultipartUpload(encrypting, value)],
  "fileMultipartStates, folder": [(value) => void fileMultipartStates(value), texts],
  "sqliteMultipartStates, database": [sqliteMultipartStates],
  "sseC, key": [sseC, ["a function"]],
  "explainPolicy, policy": [explainPolicy],
  "asCopySource, key": [asCopySource],
  "sseCVersionTagging, version": [sseCVersionTagging],
  "sseCVersionFromTags, tags": [sseCVersionFromTags, ["undefined", "an array", "an array of numbers"]],
  "withSseCKey, request": [
    (value) => withSseCKey({ masterKeys, bucket: "b", key: "k" }, value),
    ["a function"],
  ],
  "checkMultipartStateStore, open": [checkMultipartStateStore, ["a function"]],
  getLocalCryptographicMaterialsCache: [getLocalCryptographicMaterialsCache],
  "limitRegions, regions": [(value) => limitRegions(value, supplier), ["an array"]],
  "limitRegions, supplier": [(value) => limitRegions(["us-east-1"], value), ["a function"]],
  "excludeRegions, regions": [(value) => excludeRegions(value, supplier), ["an array"]],
  "excludeRegions, supplier": [(value) => excludeRegions(["us-east-1"], value), ["a function"]],
  "cacheClients, supplier": [cacheClients, ["a function"]],
  "getClient, Client": [getClient, ["a function"]],
  "Client.encrypt, keyring": [(value) => peer.encrypt(value, "text")],
  "Client.decrypt, keyring": [(value) => peer.decrypt(value, new Uint8Array(3))],
  NodeDefaultCryptographicMaterialsManager: [
    (value) => void new NodeDefaultCryptographicMaterialsManager(value),
  ],
};

test.each(Object.entries(takers))("%s", async (_, [call, right = []]) => {
  for (const [what, value] of [...Object.entries(junk), ["undefined", undefined] as const]) {
    if (right.includes(what)) continue;
    const { text } = await refusalOf(() => call(value as never));
    expect(text, what).toMatch(/^(TypeError|RangeError): "[\w.]+" expected/);
    expect(text).not.toMatch(/\p{Cc}|.{300}/u);
  }
});
