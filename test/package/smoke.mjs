// What runs on every platform and runtime: buffers, streams and files, whichever engine is found; prints the engine.
import assert from "node:assert";
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import * as frameseal from "frameseal";

const { RawAesKeyring, createDecryptStream, createEncryptStream, decrypt, encrypt, engineInfo } = frameseal;
const keyring = new RawAesKeyring({
  keyNamespace: "n",
  keyName: "k",
  wrappingKey: new Uint8Array(32).fill(7),
});
const plaintext = Buffer.alloc(1_000_003, "some text");

const message = await encrypt(plaintext, { keyring });
assert.deepEqual(Buffer.from((await decrypt(message, { keyring, engine: "node" })).plaintext), plaintext);
message[message.length - 200] ^= 1;
await assert.rejects(decrypt(message, { keyring }), { code: "AUTHENTICATION_FAILED" });

const pieces = [];
await pipeline(
  [plaintext.subarray(0, 5), plaintext.subarray(5)],
  createEncryptStream({ keyring, engine: "node" }),
  createDecryptStream({ keyring }),
  async (opened) => {
    for await (const piece of opened) pieces.push(piece);
  },
);
assert.deepEqual(Buffer.concat(pieces), plaintext);

const file = path.join(tmpdir(), `frameseal-smoke-${process.pid}`);
await writeFile(file, plaintext);
await frameseal.encryptFile(file, `${file}.sealed`, { keyring });
await frameseal.decryptFile(`${file}.sealed`, `${file}.opened`, { keyring });
assert.deepEqual(await readFile(`${file}.opened`), plaintext);
for (const name of ["", ".sealed", ".opened"]) await rm(`${file}${name}`);

const { engine, kernel, reason } = engineInfo();
console.log(engine === "native" ? `native ${kernel}` : `${engine}: ${reason}`);
