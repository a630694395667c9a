// Calls every function of the addon with arguments that nobody should give it, beside some that are right. Each call
// returns or throws; nothing else may happen, and sanitizers look on.  usage: wild_calls.mjs ADDON [CALLS] [SEED]
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [path, calls = "100000", seed = String(Date.now() % 2 ** 31)] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(path);

let state = Number(seed) >>> 0;
/** A whole number below `count`. (mulberry32) */
function random(count) {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % count;
}
const pick = (list) => list[random(list.length)];

const folder = mkdtempSync(join(tmpdir(), "frameseal-wild-"));
writeFileSync(join(folder, "input"), new Uint8Array(200_000));
const input = openSync(join(folder, "input"), "r");
const output = openSync("/dev/null", "w");

const kernels = addon.kernels().flatMap(({ works }, index) => (works ? [index] : []));
const keys = kernels.map((index) => addon.createKey(new Uint8Array(32).fill(index), index));
const messages = [];
const hashes = [];
const pumps = [];

// Never the numbers of descriptors but those two.
const wildNumbers = [
  ...[-1, -0.5, 0.5, 64.5, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 36, 2 ** 53, 2 ** 63, 2 ** 64, 1e300],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -(2 ** 31), -(2 ** 63), -1e300],
];
const numbers = [
  ...wildNumbers,
  0,
  -0,
  1,
  2,
  3,
  4,
  12,
  15,
  16,
  17,
  31,
  32,
  33,
  100,
  255,
  256,
  384,
  512,
  4096,
];
const lengths = [0, 1, 12, 15, 16, 17, 31, 32, 33, 48, 64, 71, 72, 100, 4096, 4128, 4168, 70_000];
const detached = new Uint8Array(16);
structuredClone(detached.buffer, { transfer: [detached.buffer] });

const bytes = () => {
  const view = new Uint8Array(pick(lengths) + 3);
  for (let i = 0; i < Math.min(view.length, 64); i++) view[i] = random(256);
  return view.subarray(random(4));
};
const exactBytes = () => new Uint8Array(pick(lengths));
const format = () => Uint8Array.of(0, 0, pick([0, 1, 16]), pick([0, 16]), 0, 2, 0, 3, 1, 2, 3, 4, 5);
const float64 = () =>
  new Uint8Array(Float64Array.from({ length: pick([1, 2, 3, 9]) }, () => pick(numbers)).buffer);
const pumpNumbers = () => {
  const right = [random(2), input, output, 0, -1, 0, 2 ** 40, 2 ** 31, 1 + random(3)];
  for (let i = random(3); i > 0; i--) right[random(9)] = pick(wildNumbers);
  return new Uint8Array(Float64Array.from(right).buffer);
};
const others = () =>
  pick([
    ...[undefined, null, "text", {}, [], true, 10n, Symbol("s"), () => {}, detached, new Uint16Array(8)],
    ...[new ArrayBuffer(16), new Uint8Array(new SharedArrayBuffer(32)), new DataView(new ArrayBuffer(16))],
    { length: 3, 0: new Uint8Array(3) },
  ]);
const chunks = () => Array.from({ length: random(4) }, () => pick([bytes, exactBytes, exactBytes, others])());
const handle = () => pick([keys, messages, hashes, pumps].map((list) => (list.length > 0 ? pick(list) : 0)));
const anything = () =>
  pick([
    handle,
    handle,
    bytes,
    exactBytes,
    exactBytes,
    format,
    float64,
    chunks,
    others,
    () => pick(numbers),
  ])();

/** Arguments that are right, as far as each by itself can be. */
const key = () => pick(keys);
const likely = {
  createKey: () => [new Uint8Array(32), pick(kernels)],
  seal: () => [key(), new Uint8Array(12), bytes(), new Uint8Array(16), new Uint8Array(32)],
  open: () => [key(), new Uint8Array(12), bytes(), new Uint8Array(32), new Uint8Array(16)],
  sealSmall: () => [key(), 16, 100],
  openSmall: () => [key(), 16, 100],
  sealFrames: () => [key(), format(), [new Uint8Array(4096)], new Uint8Array(9000), 1, 1, 0, 2],
  openFrames: () => [key(), format(), [new Uint8Array(4168)], new Uint8Array(9000), 1, 1, 0, 2],
  startMessage: () => [key(), new Uint8Array(12), bytes()],
  sealUpdate: () => [pick([0, ...messages]), new Uint8Array(100), new Uint8Array(100)],
  openUpdate: () => [pick([0, ...messages]), new Uint8Array(100), new Uint8Array(100)],
  finishSeal: () => [pick([0, ...messages]), new Uint8Array(16)],
  finishOpen: () => [pick([0, ...messages]), new Uint8Array(16)],
  sealSegment: () => [
    key(),
    new Uint8Array(12),
    0,
    [new Uint8Array(64)],
    new Uint8Array(64),
    new Uint8Array(16),
    2,
  ],
  openSegment: () => [
    key(),
    new Uint8Array(12),
    0,
    [new Uint8Array(64)],
    new Uint8Array(64),
    new Uint8Array(16),
    2,
  ],
  finishSegments: () => {
    const partLengths = new Uint8Array(Float64Array.of(64, pick(numbers)).buffer);
    return [key(), new Uint8Array(12), bytes(), new Uint8Array(32), partLengths, new Uint8Array(16)];
  },
  startHash: () => [pick([256, 384, 512])],
  updateHash: () => [pick([0, ...hashes]), bytes()],
  updateHashAsync: () => [pick([0, ...hashes]), bytes()],
  finishHash: () => [pick([0, ...hashes]), new Uint8Array(pick([32, 48, 64]))],
  signDigest: () => [bytes(), new Uint8Array(32), bytes(), new Uint8Array(71)],
  verifyDigest: () => [bytes(), new Uint8Array(32), bytes()],
  startPump: () => [key(), format(), new Uint8Array(0), pumpNumbers(), () => {}],
};

const names = Object.keys(addon).filter((name) => name !== "setScratch");
const scratch = new Uint8Array(new ArrayBuffer(1024));
addon.setScratch(scratch);
const kept = { createKey: keys, startMessage: messages, startHash: hashes, startPump: pumps };
const outcomes = { returned: 0, thrown: 0 };
for (let i = 0; i < Number(calls); i++) {
  const name = pick(names);
  let given =
    likely[name] === undefined || random(4) === 0
      ? Array.from({ length: random(9) }, anything)
      : likely[name]();
  for (let changes = random(3); changes > 0 && given.length > 0; changes--)
    given[random(given.length)] = anything();
  // A pump gets numbers of descriptors from nowhere else.
  if (name === "startPump")
    given = [...given.slice(0, 3), pick([pumpNumbers, pumpNumbers, exactBytes])(), given[4]];
  // Live keys stay, so that calls get further.
  if (name === "disposeKey" && random(20) !== 0) given = [pick(numbers)];
  if (name === "disposeKey" && kernels.map((_, index) => keys[index]).includes(given[0])) continue;
  try {
    const result = addon[name](...given);
    outcomes.returned++;
    if (result instanceof Promise) result.catch(() => {});
    else if (typeof result === "number" && result !== 0) kept[name]?.push(result);
  } catch (error) {
    if (!(error instanceof Error) || error.message === "") throw new Error(`${name} threw ${String(error)}`);
    outcomes.thrown++;
  }
  for (const list of [messages, hashes, pumps]) if (list.length > 30) list.shift();
  if (keys.length > 40) addon.disposeKey(keys.splice(kernels.length, 1)[0]);
  if (i % 200 === 0) await new Promise(setImmediate);
}
for (const pump of pumps) addon.cancelPump(pump);
await new Promise((resolve) => setTimeout(resolve, 200));
closeSync(input);
closeSync(output);
rmSync(folder, { recursive: true });
console.log(`wild calls, seed ${seed}: ${outcomes.returned} returned, ${outcomes.thrown} threw`);
