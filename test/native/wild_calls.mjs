// Calls every function of the addon with arguments that nobody should give it, beside some that are right: any type and
// value, memory that is detached, shared, resizable or of another realm, objects that throw, and arrays whose elements do
// something to the rest of the call while they are read. Each call returns or throws an Error; nothing else may happen, and
// sanitizers look on. Worker threads do the same and are terminated.  usage: wild_calls.mjs ADDON [CALLS] [SEED]
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isProxy } from "node:util/types";
import { createContext, runInContext } from "node:vm";
import { isMainThread, Worker, workerData } from "node:worker_threads";

const given = isMainThread ? process.argv.slice(2) : workerData;
const [path, calls = "100000", seed = String(Date.now() % 2 ** 31)] = given;
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
/** Handles that are void. */
const gone = [0];

// Never the numbers of descriptors but those two.
const wildNumbers = [
  ...[-1, -0.5, 0.5, 64.5, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 36, 2 ** 53, 2 ** 63, 2 ** 64, 1e300, 5e-324],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -(2 ** 31), -(2 ** 63), -1e300],
];
const numbers = [
  ...wildNumbers,
  ...[0, -0, 1, 2, 3, 4, 12, 15, 16, 17, 31, 32, 33, 100, 255, 256, 384, 512, 4096],
];
const anyNumber = () =>
  random(4) > 0 ? pick(numbers) : (random(2 ** 32) - 2 ** 31) * 2 ** (random(80) - 40);

const lengths = [0, 1, 12, 15, 16, 17, 31, 32, 33, 48, 64, 71, 72, 100, 4096, 4128, 4168];
const anyLength = () => (random(40) === 0 ? 70_000 : pick(lengths));
const realm = createContext({});
const foreign = runInContext("(length) => new Uint8Array(length)", realm);
const foreignArray = runInContext("(...elements) => elements", realm);
class Subclass extends Uint8Array {
  get length() {
    return 2 ** 31;
  }
  get byteLength() {
    throw new Error("byteLength was asked for");
  }
}
const detached = (length = anyLength()) => {
  const view = new Uint8Array(length);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
};
/** A view of memory that can grow and shrink, and may have shrunk below it. */
const resizable = () => {
  const buffer = new ArrayBuffer(anyLength(), { maxByteLength: 8192 + 70_000 });
  const view = random(2) === 0 ? new Uint8Array(buffer) : new Uint8Array(buffer, 0, buffer.byteLength);
  if (random(2) === 0) buffer.resize(anyLength());
  return view;
};
const growable = () => {
  const buffer = new SharedArrayBuffer(anyLength(), { maxByteLength: 80_000 });
  if (random(2) === 0) buffer.grow(80_000);
  return new Uint8Array(buffer);
};

const exactBytes = () => new Uint8Array(anyLength());
const bytes = () => {
  const view = new Uint8Array(anyLength() + 3);
  for (let i = 0; i < Math.min(view.length, 64); i++) view[i] = random(256);
  return view.subarray(random(4));
};
const oddBytes = () =>
  pick([
    detached,
    resizable,
    growable,
    () => foreign(anyLength()),
    () => new Subclass(anyLength()),
    () => new Proxy(exactBytes(), {}),
    () => Buffer.alloc(16), // not of Node's pool, which `recycle` would take from everybody
    () => new Uint8ClampedArray(16),
    () => new Uint16Array(8),
    () => new BigInt64Array(4),
    () => new Uint8Array(new SharedArrayBuffer(32)),
    () => new DataView(new ArrayBuffer(16)),
    () => new ArrayBuffer(16),
    () => Object.create(Uint8Array.prototype),
    () => Object.freeze([1, 2, 3]),
    () => Object.setPrototypeOf(new Uint8Array(16), null),
  ])();
const format = () => Uint8Array.of(0, 0, pick([0, 1, 16]), pick([0, 16]), 0, 2, 0, 3, 1, 2, 3, 4, 5);
const float64 = () => new Uint8Array(Float64Array.from({ length: pick([1, 2, 3, 9]) }, anyNumber).buffer);
const pumpNumbers = () => {
  const right = [random(2), input, output, 0, -1, 0, 2 ** 40, 2 ** 31, 1 + random(3)];
  for (let i = random(3); i > 0; i--) right[random(9)] = pick(wildNumbers);
  return new Uint8Array(Float64Array.from(right).buffer);
};
const throwing = () => {
  throw new Error("thrown while it was read");
};
const others = () =>
  pick([
    ...[undefined, null, "text", "16", true, 10n, 2n ** 64n, Symbol("s"), () => {}, {}, [], /x/, new Map()],
    { length: 3, 0: new Uint8Array(3) },
    { valueOf: throwing, toString: throwing, [Symbol.toPrimitive]: throwing },
    new Proxy([], { get: throwing, has: throwing, ownKeys: throwing }),
    new Proxy(() => {}, { apply: throwing }),
  ]);

/** What may happen to the rest of a call while an array is read. It must not be to memory that a hash works on. */
let underWay = [];
const disturb = () =>
  pick([
    throwing,
    () => {
      const view = pick(underWay.filter((each) => each instanceof Uint8Array && isOwn(each)));
      if (view !== undefined) structuredClone(view.buffer, { transfer: [view.buffer] });
    },
    () => {
      const { buffer } = pick(underWay.filter((each) => each instanceof Uint8Array)) ?? {};
      if (buffer?.resizable === true) buffer.resize(0);
    },
    () => {
      const key = keys[kernels.length];
      if (key !== undefined) dispose(key);
    },
    () => call(pick(names), 1), // once more, from inside
    () => {
      const array = pick(underWay.filter(isArray));
      if (array !== undefined && !Object.isFrozen(array)) array.length = 0;
    },
  ])();
const isOwn = (view) =>
  view.buffer instanceof ArrayBuffer && view !== scratch && !busy.has(view) && view.buffer.byteLength > 0;
const chunks = () => {
  const elements = Array.from({ length: random(4) }, () =>
    pick([bytes, exactBytes, exactBytes, oddBytes, others])(),
  );
  const list = random(20) === 0 ? foreignArray(...elements) : elements;
  if (random(4) === 0) disturbing(list);
  if (random(3000) === 0) list.length = pick([2 ** 24, 2 ** 24 + 1, 2 ** 32 - 1]);
  return list;
};
/** Gives an array an element that does something when it is read. */
function disturbing(list) {
  const element = list[0] ?? new Uint8Array(16);
  Object.defineProperty(list, String(random(list.length + 1)), {
    configurable: true,
    get() {
      disturb();
      return element;
    },
  });
  return list;
}
const handle = () =>
  pick([keys, messages, hashes, pumps, gone].map((list) => (list.length > 0 ? pick(list) : 0)));
const kinds = [
  handle,
  handle,
  bytes,
  exactBytes,
  exactBytes,
  oddBytes,
  format,
  float64,
  chunks,
  others,
  anyNumber,
];
const anything = () => pick(kinds)();

/** Arguments that are right, as far as each by itself can be: a row for each function. */
const key = () => pick(keys);
const run = (inputLength, outputLength) => [
  key(),
  format(),
  random(8) === 0 ? disturbing([new Uint8Array(inputLength)]) : [new Uint8Array(inputLength)],
  new Uint8Array(outputLength),
  ...[1, 1, 0, 2],
];
const segment = () => [
  ...[key(), new Uint8Array(12), 0],
  random(8) === 0 ? disturbing([new Uint8Array(64)]) : [new Uint8Array(64)],
  ...[new Uint8Array(64), new Uint8Array(16), 2],
];
const likely = {
  createKey: () => [new Uint8Array(32), pick(kernels)],
  disposeKey: () => [pick([...gone, keys[kernels.length] ?? 0])],
  seal: () => [key(), new Uint8Array(12), bytes(), new Uint8Array(16), new Uint8Array(32)],
  open: () => [key(), new Uint8Array(12), bytes(), new Uint8Array(32), new Uint8Array(16)],
  setScratch: () => [new Uint8Array(new ArrayBuffer(1024))],
  sealSmall: () => [key(), 16, 100],
  openSmall: () => [key(), 16, 100],
  sealFrames: () => run(4096, 9000),
  openFrames: () => run(4168, 9000),
  startMessage: () => [key(), new Uint8Array(12), bytes()],
  sealUpdate: () => [pick([0, ...messages]), new Uint8Array(100), new Uint8Array(100)],
  openUpdate: () => [pick([0, ...messages]), new Uint8Array(100), new Uint8Array(100)],
  finishSeal: () => [pick([0, ...messages]), new Uint8Array(16)],
  finishOpen: () => [pick([0, ...messages]), new Uint8Array(16)],
  dropMessage: () => [pick([0, ...messages])],
  sealSegment: segment,
  openSegment: segment,
  finishSegments: () => {
    const partLengths = new Uint8Array(Float64Array.of(64, anyNumber()).buffer);
    return [key(), new Uint8Array(12), bytes(), new Uint8Array(32), partLengths, new Uint8Array(16)];
  },
  startHash: () => [pick([256, 384, 512])],
  updateHash: () => [pick([0, ...hashes]), bytes()],
  updateHashAsync: () => [pick([0, ...hashes]), bytes()],
  finishHash: () => [pick([0, ...hashes]), new Uint8Array(pick([32, 48, 64]))],
  dropHash: () => [pick([0, ...hashes])],
  signDigest: () => [bytes(), new Uint8Array(32), bytes(), new Uint8Array(71)],
  verifyDigest: () => [bytes(), new Uint8Array(32), bytes()],
  startPump: () => [key(), format(), new Uint8Array(0), pumpNumbers(), () => {}],
  pumpReadLength: () => [pick([0, ...pumps])],
  cancelPump: () => [pick([0, ...pumps])],
  adviseHugePages: () => [exactBytes()],
  keepFreedMemory: () => [],
  recycle: () => [exactBytes()],
  kernels: () => [],
  cpuFeatures: () => [],
};

/** Names that a file of the library gives to functions of the addon. */
function declared() {
  const source = (name) =>
    readFileSync(new URL(`../../src/engine/native/${name}.ts`, import.meta.url), "utf8");
  return ["addon", "small", "hash"].flatMap((name) =>
    [...source(name).matchAll(/export interface \w*Addon\b[^{]*\{([\s\S]*?)\n\}/g)].flatMap(([, body]) =>
      [...body.matchAll(/^ {2}(\w+)(?:\?: |: |\()/gm)].map(([, member]) => member),
    ),
  );
}
const names = Object.keys(addon);
const sorted = (list) => [...list].sort().join();
for (const [what, list] of Object.entries({
  "rows of this file": Object.keys(likely),
  "what is declared": declared(),
}))
  if (sorted(list) !== sorted(names))
    throw new Error(`the addon exports ${sorted(names)}, but ${what}: ${sorted(list)}`);

const scratch = new Uint8Array(new ArrayBuffer(1024));
const kept = { createKey: keys, startMessage: messages, startHash: hashes, startPump: pumps };
/** What an asynchronous hash reads: its caller promises to leave it alone. */
const busy = new Set();
const outcomes = { returned: 0, thrown: 0 };

function dispose(key) {
  addon.disposeKey(key);
  gone.push(key);
  const at = keys.indexOf(key);
  if (at >= kernels.length) keys.splice(at, 1);
}

function argumentsFor(name) {
  let list = random(5) === 0 ? Array.from({ length: random(12) }, anything) : likely[name]();
  for (let changes = random(3); changes > 0 && list.length > 0; changes--)
    list[random(list.length)] = anything();
  // A pump gets numbers of descriptors from nowhere else.
  if (name === "startPump")
    list = [...list.slice(0, 3), pick([pumpNumbers, pumpNumbers, exactBytes])(), list[4]];
  // It keeps the address for good. Who has set it once cannot do it again.
  if (name === "setScratch" && random(2) === 0) list = [anything()];
  // What it gets must not change before it is done.
  if (name === "updateHashAsync") list[1] = pick([bytes, exactBytes, others, () => detached(16)])();
  return list;
}

function call(name, depth = 0) {
  const list = argumentsFor(name);
  // Live keys stay, so that calls get further.
  if (name === "disposeKey") {
    if (kernels.some((_, index) => keys[index] === Math.trunc(Number(isNumber(list[0]) ? list[0] : 0))))
      return;
  }
  if (name === "updateHashAsync" && list[1] instanceof Uint8Array) busy.add(list[1]);
  const outer = underWay;
  underWay = list.flatMap(withElements);
  try {
    const result = addon[name](...list);
    outcomes.returned++;
    if (result instanceof Promise)
      void result.then(
        () => busy.delete(list[1]),
        () => busy.delete(list[1]),
      );
    else if (typeof result === "number" && result !== 0) kept[name]?.push(result);
  } catch (error) {
    if (!(error instanceof Error) || error.message === "") throw new Error(`${name} threw ${String(error)}`);
    outcomes.thrown++;
    busy.delete(list[1]);
  }
  underWay = outer;
  if (depth > 0) return;
  for (const list of [messages, hashes, pumps, gone]) if (list.length > 30) gone.push(list.shift());
  if (keys.length > 40) dispose(keys[kernels.length]);
}
/** An argument, and the elements of an array that can be had without reading them. */
function withElements(argument) {
  if (!isArray(argument)) return [argument];
  const elements = Array.from({ length: Math.min(4, argument.length) }, (_, index) =>
    Object.getOwnPropertyDescriptor(argument, index),
  );
  return [argument, ...elements.map((element) => element?.value)];
}
const isArray = (value) => Array.isArray(value) && !isProxy(value);
const isNumber = (value) => typeof value === "number";

// Before there is any scratch memory, calls that need it must say so.
for (const name of ["sealSmall", "openSmall"]) {
  let failed = false;
  try {
    addon[name](keys[0], 0, 16);
  } catch {
    failed = true;
  }
  if (!failed) throw new Error(`${name} works without memory`);
}
addon.setScratch(scratch);

/** Threads that do the same, until they are terminated somewhere in the middle. */
async function startWorkers(number) {
  for (let i = 0; i < number; i++) {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: [path, "1000000000", String(Number(seed) + i)],
    });
    const failed = new Promise((_, reject) => worker.once("error", reject));
    failed.catch(() => {});
    await Promise.race([new Promise((resolve) => worker.once("online", resolve)), failed]);
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 200 + random(300))), failed]);
    await worker.terminate();
  }
}

const workers = isMainThread ? startWorkers(Math.ceil(Number(calls) / 40_000)) : undefined;
for (let i = 0; i < Number(calls); i++) {
  call(pick(names));
  if (i % 200 === 0) await new Promise(setImmediate);
}
await workers;
for (const pump of pumps) addon.cancelPump(pump);
await new Promise((resolve) => setTimeout(resolve, 200));
closeSync(input);
closeSync(output);
rmSync(folder, { recursive: true });
console.log(`wild calls, seed ${seed}: ${outcomes.returned} returned, ${outcomes.thrown} threw`);
