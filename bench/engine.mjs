// The engines alone: runs of frames and small messages through JavaScript, against one-shot node:crypto, in one
// process, interleaved, medians. Run after `npm run build`: node bench/engine.mjs [seconds per row]
import { createCipheriv, randomBytes } from "node:crypto";
import { nativeKernels } from "../dist/engine/native-engine.js";
import { createEngine } from "../dist/engine/select-engine.js";

const secondsPerRow = Number(process.argv[2] ?? 0.6);
const rawKey = randomBytes(32);
const aadPrefix = randomBytes(44);
const format = { regularAadPrefix: aadPrefix, finalAadPrefix: aadPrefix };

/** Median of bytes (or calls) per second of each subject; subjects take turns so that noise hits all alike. */
async function measure(subjects, unitsPerCall) {
  const samples = subjects.map(() => []);
  const calls = [];
  for (const { run } of subjects) {
    let count = 0;
    const start = performance.now();
    while (performance.now() - start < 30 || count < 3) {
      await run();
      count++;
    }
    calls.push(Math.max(1, Math.round((count * 10) / (performance.now() - start))));
  }
  const end = performance.now() + 1_000 * secondsPerRow * subjects.length;
  while (performance.now() < end) {
    for (const [i, { run, isAsync }] of subjects.entries()) {
      const start = performance.now();
      if (isAsync) for (let n = 0; n < calls[i]; n++) await run();
      else for (let n = 0; n < calls[i]; n++) run();
      samples[i].push((calls[i] * unitsPerCall * 1_000) / (performance.now() - start));
    }
  }
  return samples.map((list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)]);
}

function oneShot(plaintext, frameLength) {
  const frames = [];
  for (let at = 0, sequence = 1; at < plaintext.length; at += frameLength, sequence++) {
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32BE(sequence, 8);
    const aad = Buffer.alloc(56);
    aad.set(aadPrefix);
    const cipher = createCipheriv("aes-256-gcm", rawKey, nonce).setAAD(aad);
    frames.push(
      Buffer.concat([
        cipher.update(plaintext.subarray(at, at + frameLength)),
        cipher.final(),
        cipher.getAuthTag(),
      ]),
    );
  }
  return frames;
}

const engines = [
  ...nativeKernels()
    .filter(({ works }) => works)
    .map(({ name }) => `native:${name}`),
  "node",
];
console.log(`Node ${process.version}, OpenSSL ${process.versions.openssl}, engines ${engines.join(", ")}`);

for (const [frameLength, runLength] of [
  [4_096, 1 << 20],
  [65_536, 1 << 20],
  [1 << 20, 1 << 20],
  [1 << 20, 8 << 20],
]) {
  const plaintext = randomBytes(runLength);
  const frameCount = runLength / frameLength;
  const subjects = [{ name: "one-shot node:crypto", run: () => oneShot(plaintext, frameLength) }];
  for (const name of engines) {
    const cipher = createEngine(name)
      .createKey(rawKey)
      .frameCipher({ frameLength, ...format });
    const sealed = cipher.seal([plaintext], 1, frameCount, -1, 0);
    const [output, text] = [new Uint8Array(sealed.length), new Uint8Array(runLength)];
    subjects.push(
      { name: `${name} seal, fresh output`, run: () => cipher.seal([plaintext], 1, frameCount, -1, 0) },
      {
        name: `${name} seal, reused output`,
        run: () => cipher.sealInto(output, [plaintext], 1, frameCount, -1),
      },
      { name: `${name} open, fresh output`, run: () => cipher.open([sealed], 1, frameCount, -1) },
      { name: `${name} open, reused output`, run: () => cipher.openInto(text, [sealed], 1, frameCount, -1) },
    );
    if (cipher.sealAsync !== undefined && runLength > 1 << 19) {
      const depth = 4;
      const flood = (call) => async () => {
        await Promise.all(Array.from({ length: depth }, call));
      };
      subjects.push(
        {
          name: `${name} seal async, ${depth} in flight`,
          isAsync: true,
          scale: depth,
          run: flood(() => cipher.sealAsync([plaintext], 1, frameCount, -1, 0)),
        },
        {
          name: `${name} open async, ${depth} in flight`,
          isAsync: true,
          scale: depth,
          run: flood(() => cipher.openAsync([sealed], 1, frameCount, -1)),
        },
        {
          name: `${name} seal async, one at a time`,
          isAsync: true,
          run: () => cipher.sealAsync([plaintext], 1, frameCount, -1, 0),
        },
      );
    }
  }
  const rates = await measure(subjects, runLength);
  console.log(`\nframes of ${frameLength}, runs of ${runLength} bytes`);
  for (const [i, { name, scale = 1 }] of subjects.entries()) {
    const rate = rates[i] * scale;
    console.log(
      `  ${name.padEnd(44)} ${(rate / 1e9).toFixed(2).padStart(6)} GB/s ${(rate / rates[0]).toFixed(1).padStart(6)} x`,
    );
  }
}

const [nonce, aad, small] = [new Uint8Array(12), new Uint8Array(16), new Uint8Array(16)];
const subjects = engines.flatMap((name) => {
  const engine = createEngine(name);
  const key = engine.createKey(rawKey);
  const sealed = key.seal(nonce, aad, small);
  return [
    { name: `${name} seal 16 bytes`, run: () => key.seal(nonce, aad, small) },
    { name: `${name} open 16 bytes`, run: () => key.open(nonce, aad, sealed) },
    { name: `${name} createKey + dispose`, run: () => engine.createKey(rawKey).dispose() },
  ];
});
const rates = await measure(subjects, 1);
console.log("\nsmall calls");
for (const [i, { name }] of subjects.entries()) {
  console.log(`  ${name.padEnd(44)} ${(1e9 / rates[i]).toFixed(0).padStart(6)} ns`);
}
