// What the addon's threads do, whether the system has all of them, some or none: the right bytes, no signal taken, and an
// end of the process by itself.  usage: threads.mjs ADDON pump|crew|hash THREADS, where THREADS is all, some or none
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread, Worker, workerData } from "node:worker_threads";

const [path, part, expected] = isMainThread ? process.argv.slice(2) : workerData;
const addon = createRequire(import.meta.url)(path);

function check(condition, text) {
  if (!condition) throw new Error(`${part}, threads: ${expected}: ${text}`);
}

const frameLength = 65_536;
const format = Uint8Array.of(0, 1, 0, 0, 0, 2, 0, 3, 1, 2, 3, 4, 5);
const key = addon.createKey(
  new Uint8Array(32).fill(7),
  addon.kernels().findIndex(({ works }) => works),
);
const text = new Uint8Array(randomBytes(3_000_000));
const frameCount = Math.floor(text.length / frameLength);
const finalLength = text.length - frameCount * frameLength;
const seal = (threads) => {
  const sealed = new Uint8Array(text.length + frameCount * 32 + 40);
  addon.sealFrames(key, format, [text], sealed, 1, frameCount, finalLength, threads);
  return Buffer.from(sealed);
};

/** Threads of ours that exist, as [name, blocked signals]. */
function ownThreads() {
  const fields = (id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/status`, "latin1");
    } catch {
      return ""; // it has just ended
    }
  };
  const found = readdirSync("/proc/self/task").map(fields);
  const value = (status, name) => status.match(new RegExp(`^${name}:\\s*(.*)$`, "m"))?.[1] ?? "";
  return found
    .map((status) => [value(status, "Name"), BigInt(`0x${value(status, "SigBlk") || "0"}`)])
    .filter(([name]) => name.startsWith("frameseal"));
}

/** Signals 1 to 64 but those that cannot be blocked: 9 and 19, and 32 and 33, which the C library keeps for itself. */
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn & ~((1n << 8n) | (1n << 18n) | (3n << 31n));

function checkThreads(name, count) {
  const threads = ownThreads().filter(([found]) => found === name);
  check(threads.length >= count, `${threads.length} are called ${name}`);
  for (const [, blocked] of threads)
    check((blocked & ALL_SIGNALS) === ALL_SIGNALS, `blocks ${blocked.toString(16)} only`);
}

/** The threads of a pump that waits for a pipe can be looked at. */
async function waitingPump(pipe) {
  execFileSync("mkfifo", [pipe]);
  const input = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  const numbers = new Uint8Array(Float64Array.of(1, input, -1, -1, -1, 0, 2 ** 40, 2 ** 31, 3).buffer);
  let pump;
  const ended = new Promise((resolve) => {
    pump = addon.startPump(key, format, new Uint8Array(0), numbers, resolve);
  });
  // A thread has its name a moment after it was started.
  while (ownThreads().filter(([name]) => name === "frameseal pump").length < 3)
    await new Promise(setImmediate);
  checkThreads("frameseal pump", 3);
  addon.cancelPump(pump);
  check((await ended) === 1, "was not cancelled");
  closeSync(input);
}

const parts = {
  async pump() {
    const folder = mkdtempSync(join(tmpdir(), "frameseal-threads-"));
    const [plain, sealed] = [join(folder, "plain"), join(folder, "sealed")];
    writeFileSync(plain, text);
    for (let round = 0; round < 4; round++) {
      const [input, output] = [openSync(plain, "r"), openSync(sealed, "w")];
      const numbers = Float64Array.of(0, input, output, 0, 0, 0, 2 ** 40, 2 ** 31, 3);
      const result = await new Promise((resolve) => {
        const done = (...values) => resolve(values);
        const pump = addon.startPump(key, format, new Uint8Array(0), new Uint8Array(numbers.buffer), done);
        if (pump === 0) resolve(undefined);
      });
      closeSync(input);
      closeSync(output);
      check(
        (result === undefined) === (expected === "none"),
        "was started or not, against what was expected",
      );
      if (result === undefined) continue;
      check(result[0] === 0 && result[5] === text.length, `ended with ${result}`);
      check(readFileSync(sealed).equals(seal(1)), "wrote other bytes");
    }
    if (expected === "all") await waitingPump(join(folder, "pipe"));
    rmSync(folder, { recursive: true });
  },
  async crew() {
    const alone = seal(1);
    for (let round = 0; round < 20; round++) check(seal(4).equals(alone), "sealed other bytes");
    if (expected === "all" && availableParallelism() > 1) checkThreads("frameseal crew", 1);
  },
  async hash() {
    for (let round = 0; round < 4; round++) {
      const hash = addon.startHash(384);
      if (hash === 0) return; // one core
      const digest = new Uint8Array(48);
      const pieces = [text, text.subarray(5), text.subarray(7)];
      await addon.updateHashAsync(hash, pieces[0]); // here, if this round has no thread at first
      await Promise.all(pieces.slice(1).map((piece) => addon.updateHashAsync(hash, piece)));
      if (expected === "all") checkThreads("frameseal hash", 1);
      addon.finishHash(hash, digest);
      const right = createHash("sha384");
      for (const piece of pieces) right.update(piece);
      check(right.digest().equals(digest), "hashed to another value");
    }
    const left = addon.startHash(256); // nobody finishes it
    addon.updateHashAsync(left, text);
    addon.updateHashAsync(left, text);
  },
};

await parts[part]();
if (isMainThread) {
  // Its environment goes down before the process does.
  const worker = new Worker(new URL(import.meta.url), { workerData: [path, part, expected] });
  const code = await new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
  check(code === 0, `ended with ${code} in a worker thread`);
  console.log(`${part}, threads: ${expected}: right`);
}
