// Streams against @aws-crypto/client-node and a createCipheriv Transform: raw AES key, suite 0x0478, random bytes from
// memory, null sink. Every subject and round runs in a process of its own, rounds interleaved; medians, and ratios of
// medians in this run.
//   node bench/esdk.mjs [--size MiB] [--rounds N] [--json]
import { execFileSync } from "node:child_process";
import { createCipheriv, randomBytes } from "node:crypto";
import { Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const MIB = 2 ** 20;
const KiB = 2 ** 10;
const self = fileURLToPath(import.meta.url);
const argument = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
};

/** `count` bytes in chunks of `chunkLength`, again and again those of `block`. */
function source(count, chunkLength, block) {
  let done = 0;
  return new Readable({
    highWaterMark: 2 * chunkLength,
    read() {
      if (done >= count) return void this.push(null);
      const at = done % block.length;
      const chunk = block.subarray(at, at + Math.min(chunkLength, count - done));
      done += chunk.length;
      this.push(chunk);
    },
  });
}

const sink = () => new Writable({ highWaterMark: 4 * MIB, write: (_chunk, _encoding, done) => done() });
const collect = (chunks) =>
  new Writable({
    write(chunk, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });

async function frameseal(engine) {
  const { createDecryptStream, createEncryptStream, RawAesKeyring } = await import("../dist/index.js");
  const keyring = new RawAesKeyring({
    keyNamespace: "bench",
    keyName: "aes",
    wrappingKey: Buffer.alloc(32, 1),
  });
  return {
    encrypt: (frameLength) => createEncryptStream({ keyring, frameLength, engine }),
    decrypt: () => createDecryptStream({ keyring, engine }),
  };
}

async function clientNode() {
  const { buildClient, CommitmentPolicy, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } = await import(
    "@aws-crypto/client-node"
  );
  const { encryptStream, decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT);
  const keyring = new RawAesKeyringNode({
    keyNamespace: "bench",
    keyName: "aes",
    unencryptedMasterKey: new Uint8Array(32).fill(1),
    wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  });
  const suiteId = 0x0478;
  return {
    encrypt: (frameLength) => encryptStream(keyring, { frameLength, suiteId }),
    decrypt: () => decryptStream(keyring),
  };
}

// No frames, no header, no key: the least that a Transform over node:crypto does.
async function cipheriv() {
  return {
    encrypt() {
      const cipher = createCipheriv("aes-256-gcm", Buffer.alloc(32, 1), randomBytes(12));
      return new Transform({
        transform: (chunk, _encoding, done) => done(null, cipher.update(chunk)),
        flush(done) {
          this.push(cipher.final());
          done();
        },
      });
    },
  };
}

const subjects = {
  "frameseal native": () => frameseal("native"),
  "frameseal node": () => frameseal("node"),
  "client-node": clientNode,
  "createCipheriv Transform": cipheriv,
};

/** One round in this process: prints seconds and peak memory. */
async function measure(name, operation, frameLength, chunkLength, size) {
  const subject = await subjects[name]();
  const block = randomBytes(16 * MIB);
  const whole = (count) => source(count, chunkLength, block);
  let input = () => whole(size);
  const warm = [];
  await pipeline(whole(4 * MIB), subject.encrypt(frameLength), collect(warm));
  if (operation === "decrypt") {
    const chunks = [];
    await pipeline(whole(size), subject.encrypt(frameLength), collect(chunks));
    const message = Buffer.concat(chunks);
    input = () => source(message.length, chunkLength, message);
    await pipeline(Readable.from(warm), subject.decrypt(), sink());
  }
  const start = performance.now();
  await pipeline(input(), operation === "encrypt" ? subject.encrypt(frameLength) : subject.decrypt(), sink());
  const seconds = (performance.now() - start) / 1000;
  console.log(JSON.stringify({ seconds, rss: process.resourceUsage().maxRSS * KiB }));
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Medians of all subjects of a group, interleaved. */
function group(names, operation, frameLength, chunkLength, size, rounds) {
  const runs = new Map(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const name of names) {
      const args = [self, "--child", name, operation, frameLength, chunkLength, size].map(String);
      const env = { ...process.env, NODE_NO_WARNINGS: "1" };
      runs.get(name).push(JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8", env })));
    }
  return new Map(
    [...runs].map(([name, all]) => [
      name,
      {
        rate: size / median(all.map((run) => run.seconds)) / 1e6,
        rss: Math.max(...all.map((run) => run.rss)) / MIB,
      },
    ]),
  );
}

/** What the peers exchange must be the same before anything is timed. */
async function checkAgreement() {
  const [ours, theirs] = [await frameseal("node"), await clientNode()];
  const native = await frameseal("native").catch(() => ours);
  for (const length of [0, 1, 4096, 65_536, 300_001])
    for (const [from, to] of [
      [ours, theirs],
      [theirs, ours],
      [native, theirs],
      [theirs, native],
    ]) {
      const plaintext = randomBytes(length);
      const chunks = [];
      await pipeline(Readable.from([plaintext]), from.encrypt(4096), to.decrypt(), collect(chunks));
      if (!Buffer.concat(chunks).equals(plaintext)) throw new Error(`subjects disagree at ${length} bytes`);
    }
}

async function main() {
  const size = argument("size", 256) * MIB;
  const rounds = argument("rounds", 3);
  await checkAgreement();
  const rows = [];
  for (const frameLength of [4 * KiB, 64 * KiB, MIB])
    for (const operation of ["encrypt", "decrypt"]) {
      const names = ["frameseal native", "frameseal node", "client-node"];
      rows.push({
        operation,
        frameLength,
        chunkLength: 64 * KiB,
        results: group(names, operation, frameLength, 64 * KiB, size, rounds),
        peer: "client-node",
      });
    }
  for (const chunkLength of [64 * KiB, MIB]) {
    const names = ["frameseal native", "frameseal node", "createCipheriv Transform"];
    rows.push({
      operation: "encrypt",
      frameLength: 64 * KiB,
      chunkLength,
      results: group(names, "encrypt", 64 * KiB, chunkLength, 4 * size, rounds),
      peer: "createCipheriv Transform",
    });
  }
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify(rows.map((row) => ({ ...row, results: Object.fromEntries(row.results) }))));
    return;
  }
  for (const { operation, frameLength, chunkLength, results, peer } of rows) {
    console.log(
      `\n${operation}, frames of ${frameLength / KiB} KiB, chunks of ${chunkLength / KiB} KiB, median of ${rounds}`,
    );
    for (const [name, { rate, rss }] of results) {
      const ratio = rate / results.get(peer).rate;
      console.log(
        `  ${name.padEnd(26)}${rate.toFixed(0).padStart(7)} MB/s  ${ratio.toFixed(2).padStart(6)}x  ${rss.toFixed(0).padStart(5)} MiB`,
      );
    }
  }
}

const child = process.argv.indexOf("--child");
if (child < 0) await main();
else {
  const [name, operation, ...numbers] = process.argv.slice(child + 1);
  await measure(name, operation, ...numbers.map(Number));
}
