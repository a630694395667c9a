// Turns the foreign AES-256-GCM vectors with nonces of 12 and tags of 16 bytes, which is all that the kernels know, into
// lines of KEY NONCE AAD PLAINTEXT CIPHERTEXT TAG in hex, `-` for nothing, and `valid` or `invalid`.
// usage: node vectors.mjs FOLDER > FILE
import { createDecipheriv, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inflateSync } from "node:zlib";

const folder = process.argv[2];
const lines = [];
const addAs = (result, ...fields) =>
  lines.push([...fields.map((field) => field.toLowerCase() || "-"), result].join(" "));
const add = (...fields) => addAs("valid", ...fields);

const wycheproof = JSON.parse(readFileSync(join(folder, "aes-gcm/wycheproof_aes_gcm_test.json"), "utf8"));
for (const group of wycheproof.testGroups)
  if (group.keySize === 256 && group.ivSize === 96 && group.tagSize === 128)
    for (const test of group.tests)
      addAs(
        test.result === "valid" ? "valid" : "invalid",
        ...[test.key, test.iv, test.aad, test.result === "valid" ? test.msg : "", test.ct, test.tag],
      );

for (const file of ["gcmEncryptExtIV256.rsp", "gcmDecrypt256.rsp"])
  for (const block of readFileSync(join(folder, "aes-gcm", file), "utf8").split(/\r?\n(?=\[Keylen)/)) {
    if (!block.includes("[IVlen = 96]") || !block.includes("[Taglen = 128]")) continue;
    for (const record of block.split(/\r?\n\r?\n/)) {
      const field = (name) => new RegExp(`^${name} = ?([0-9a-f]*)`, "m").exec(record)?.[1];
      const sealed = [field("CT"), field("Tag")];
      const result = /^FAIL/m.test(record) ? "invalid" : "valid";
      if (field("Key") !== undefined)
        addAs(result, field("Key"), field("IV"), field("AAD"), field("PT") ?? "", ...sealed);
    }
  }

for (const record of readFileSync(join(folder, "aes-gcm/boringssl_aes_256_gcm_tests.txt"), "utf8").split(
  /\n\s*\n/,
)) {
  const field = (name) => new RegExp(`^${name}: "?([0-9a-fA-F]*)"?`, "m").exec(record)?.[1];
  if (field("NONCE")?.length === 24 && field("TAG")?.length === 32)
    add(field("KEY"), field("NONCE"), field("AD") ?? "", field("IN") ?? "", field("CT") ?? "", field("TAG"));
}
// Chunks of 16 KiB of the Cobblestone messages: nonce = base nonce XOR chunk number, no AAD. The files have no
// plaintext but its hash, so OpenSSL opens them first.
const cobblestone = JSON.parse(
  readFileSync(join(folder, "cobblestone/c2sp_chunked_encryption_aes_256_gcm_test.json"), "utf8"),
);
const [HEAD, CHUNK] = [56, 16_384 + 16];
for (const test of cobblestone.testGroups[0].tests) {
  if (test.result !== "valid") continue;
  const sealed = inflateSync(Buffer.from(test.ct, "hex"));
  const hash = createHash("sha512");
  for (let at = HEAD, number = 0; at < sealed.length; at += CHUNK, number++) {
    const nonce = Buffer.from(test.baseNonce, "hex");
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ number) >>> 0, 8);
    const [ciphertext, tag] = [
      sealed.subarray(at, at + CHUNK).subarray(0, -16),
      sealed.subarray(at, at + CHUNK).subarray(-16),
    ];
    const decipher = createDecipheriv("aes-256-gcm", Buffer.from(test.aeadKey, "hex"), nonce).setAuthTag(tag);
    const plaintext = Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    hash.update(plaintext);
    add(
      test.aeadKey,
      ...[nonce, Buffer.alloc(0), plaintext, ciphertext, tag].map((bytes) => bytes.toString("hex")),
    );
  }
  if (hash.digest("hex") !== test.msgSha512)
    throw new Error(`message ${test.tcId} is not what the file says`);
}
process.stdout.write(`${lines.join("\n")}\n`);
