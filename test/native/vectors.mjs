// Turns the foreign AES-256-GCM vectors into lines of KEY NONCE AAD PLAINTEXT CIPHERTEXT TAG in hex, `-` for nothing.
// usage: node vectors.mjs FOLDER > FILE
import { readFileSync } from "node:fs";
import { join } from "node:path";

const folder = process.argv[2];
const lines = [];
const add = (...fields) => lines.push(fields.map((field) => field.toLowerCase() || "-").join(" "));

const wycheproof = JSON.parse(readFileSync(join(folder, "aes-gcm/wycheproof_aes_gcm_test.json"), "utf8"));
for (const group of wycheproof.testGroups)
  if (group.keySize === 256 && group.ivSize === 96 && group.tagSize === 128)
    for (const test of group.tests)
      if (test.result === "valid") add(test.key, test.iv, test.aad, test.msg, test.ct, test.tag);

for (const block of readFileSync(join(folder, "aes-gcm/gcmEncryptExtIV256.rsp"), "utf8").split(
  /\r?\n(?=\[Keylen)/,
)) {
  if (!block.includes("[IVlen = 96]") || !block.includes("[Taglen = 128]")) continue;
  for (const record of block.split(/\r?\n\r?\n/)) {
    const field = (name) => new RegExp(`^${name} = ?([0-9a-f]*)`, "m").exec(record)?.[1];
    if (field("Key") !== undefined)
      add(field("Key"), field("IV"), field("AAD"), field("PT"), field("CT"), field("Tag"));
  }
}

for (const record of readFileSync(join(folder, "aes-gcm/boringssl_aes_256_gcm_tests.txt"), "utf8").split(
  /\n\s*\n/,
)) {
  const field = (name) => new RegExp(`^${name}: "?([0-9a-fA-F]*)"?`, "m").exec(record)?.[1];
  if (field("NONCE")?.length === 24 && field("TAG")?.length === 32)
    add(field("KEY"), field("NONCE"), field("AD") ?? "", field("IN") ?? "", field("CT") ?? "", field("TAG"));
}
process.stdout.write(`${lines.join("\n")}\n`);
