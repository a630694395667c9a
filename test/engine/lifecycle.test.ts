// Threads, contexts and processes that end while the engine works. SLOW=1 runs as many rounds as the release check.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { type CompiledEngine, compileEngine, runChild } from "./compiled.ts";

const SLOW = process.env.SLOW === "1";
const hasAddon = nativeKernels().some(({ works }) => works);

describe.skipIf(!hasAddon)("life cycle of the native engine", () => {
  let compiled: CompiledEngine;
  let prelude: string;
  beforeAll(() => {
    compiled = compileEngine();
    prelude = `
      import { Worker, isMainThread } from "node:worker_threads";
      import { randomBytes } from "node:crypto";
      import { selectEngine } from ${JSON.stringify(compiled.url)};
      const engine = selectEngine("native");
      const format = { frameLength: 65536, regularAadPrefix: new Uint8Array(40), finalAadPrefix: new Uint8Array(41) };
      const text = randomBytes(2_000_000);
      const hashing = () => {
        const hash = engine.startHash(384);
        for (let i = 0; i < 8; i++) hash.update(new Uint8Array(text));
        return hash;
      };
      const newCipher = () => engine.createKey(randomBytes(32)).frameCipher(format, 4);
      const flood = (cipher, count) => { for (let i = 0; i < count; i++) cipher.seal([text], 1, 30, 33920, 0); };
    `;
  });
  afterAll(() => compiled.remove());

  async function expectCleanExit(script: string, flags: readonly string[] = []): Promise<string> {
    const { status, signal, stdout, stderr } = await runChild(prelude + script, { flags });
    expect({ status, signal }, stderr).toEqual({ status: 0, signal: null });
    return stdout;
  }
  /** A worker that seals with the help of other threads and hashes, tells so, and goes on. */
  const workerSource = () => `
    const { parentPort } = require("node:worker_threads");
    const { randomBytes } = require("node:crypto");
    import(${JSON.stringify(compiled.url)}).then(({ selectEngine }) => {
      const format = { frameLength: 65536, regularAadPrefix: new Uint8Array(40), finalAadPrefix: new Uint8Array(41) };
      const text = randomBytes(2_000_000);
      const cipher = selectEngine("native").createKey(randomBytes(32)).frameCipher(format, 4);
      const again = () => { cipher.seal([text], 1, 30, 33920, 0); setImmediate(again); };
      again();
      const hash = selectEngine("native").startHash(384);
      const more = () => hash.update(text).then(more);
      more();
      hash.update(text);
      parentPort.postMessage("busy");
    });`;

  test("terminating worker threads with work in flight neither crashes nor hangs", async () => {
    const rounds = SLOW ? 500 : 25;
    const out = await expectCleanExit(`
      for (let i = 0; i < ${rounds}; i++) {
        const worker = new Worker(${JSON.stringify(workerSource())}, { eval: true, execArgv: [] });
        await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
        if (i % 3 === 1) await new Promise((resolve) => setImmediate(resolve));
        if (i % 3 === 2) await new Promise((resolve) => setTimeout(resolve, 5));
        await worker.terminate();
      }
      const sealed = newCipher().seal([text], 1, 30, 33920, 0);
      const hash = engine.startHash(384);
      hash.update(new Uint8Array(text));
      const { createHash } = await import("node:crypto");
      if (!createHash("sha384").update(text).digest().equals(await hash.digest())) throw new Error("wrong hash");
      console.log(sealed.length);`);
    expect(out.trim()).toBe(String(2_000_000 + 30 * 32 + 40));
  }, 120_000);
  test("the addon can be unloaded with its last worker thread, and its own threads end before", async () => {
    const { status, signal, stdout, stderr } = await runChild(`
      import { Worker } from "node:worker_threads";
      import { readFileSync, readdirSync } from "node:fs";
      import { availableParallelism } from "node:os";
      const nameOf = (id) => readFileSync("/proc/self/task/" + id + "/comm", "latin1").trim();
      const threads = () => readdirSync("/proc/self/task").filter((id) => nameOf(id) === "frameseal crew").length;
      let most = 0;
      for (let i = 0; i < ${SLOW ? 200 : 8}; i++) {
        const workers = [0, 1].map(() => new Worker(${JSON.stringify(workerSource())}, { eval: true, execArgv: [] }));
        await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject))));
        if (process.platform === "linux") most = Math.max(most, threads());
        for (const worker of workers) await worker.terminate();
      }
      if (process.platform === "linux") {
        console.log(most > 0 || availableParallelism() === 1, threads() === 0, readFileSync("/proc/self/maps", "latin1").includes("frameseal.node"));
      } else console.log("true true false");`);
    expect({ status, signal }, stderr).toEqual({ status: 0, signal: null });
    expect(stdout.trim()).toBe("true true false");
  }, 120_000);
  test("process.exit while a worker thread seals ends the process with its own status", async () => {
    const rounds = SLOW ? 500 : 6;
    for (let i = 0; i < rounds; i++) {
      const { status, signal, stderr } = await runChild(
        `${prelude} flood(newCipher(), 8); hashing();
         if (${i % 2}) process.exit(7);
         new Worker(${JSON.stringify(workerSource())}, { eval: true, execArgv: [] })
           .once("message", () => setTimeout(() => process.exit(7), ${i % 3}));`,
      );
      expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: "" });
    }
  }, 120_000);
  test("an uncaught exception after work on several threads is reported as such", async () => {
    const { status, stderr } = await runChild(`${prelude} flood(newCipher(), 8); throw new Error("mine");`);
    expect(status).toBe(1);
    expect(stderr).toContain("mine");
  });
  test("memory that is freed goes where the host wants it, until it asks for more", async () => {
    const out = await expectCleanExit(`
      const { keepFreedMemory } = await import(${JSON.stringify(new URL("native/freed-memory.js", compiled.url).href)});
      const { readFileSync } = await import("node:fs");
      if (process.report?.getReport().header.glibcVersionRuntime === undefined) console.log("[false,true]");
      else {
        flood(newCipher(), 2);
        const heapLength = () => {
          const [, from, to] = readFileSync("/proc/self/maps", "latin1").match(/^(\\w+)-(\\w+) .*\\[heap\\]$/m);
          return parseInt(to, 16) - parseInt(from, 16);
        };
        // What is larger than the threshold is mapped beside the heap.
        const isInHeap = () => {
          const before = heapLength();
          globalThis.kept = [globalThis.kept, Buffer.allocUnsafeSlow(20 * 2 ** 20)];
          return heapLength() - before > 10 * 2 ** 20;
        };
        console.log(JSON.stringify([isInHeap(), keepFreedMemory() && isInHeap()]));
      }`);
    expect(out.trim()).toBe("[false,true]");
  });
  test("helping threads do not keep a process alive", async () => {
    const out = await expectCleanExit(
      `flood(newCipher(), 5); setImmediate(() => console.log("done")); selectEngine("node");`,
    );
    expect(out.trim()).toBe("done");
  });
  test("a hash in work keeps the process alive, one that waits for more bytes does not", async () => {
    const out = await expectCleanExit(`hashing().digest().then((digest) => console.log(digest.length));`);
    expect(out.trim()).toBe("48");
    expect(await expectCleanExit(`const idle = hashing(); globalThis.idle = idle;`)).toBe("");
  });
  test("hashes that nobody finishes are collected, and their threads end", async () => {
    const out = await expectCleanExit(
      `
      for (let i = 0; i < 200; i++) {
        await hashing().update(new Uint8Array(40_000));
        if (i % 20 === 0) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 1)); }
      }
      const { readdirSync } = await import("node:fs");
      const threads = () => process.platform === "linux" ? readdirSync("/proc/self/task").length : 0;
      for (let i = 0; threads() > 30 && i < 500; i++) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 10)); }
      console.log(threads() <= 30);`,
      ["--expose-gc"],
    );
    expect(out.trim()).toBe("true");
  }, 60_000);
  test("many worker threads use the addon at the same time", async () => {
    const out = await expectCleanExit(`
      const source = ${JSON.stringify(`
        const { parentPort } = require("node:worker_threads");
        import("${"URL"}").then(async ({ selectEngine }) => {
          const key = selectEngine("native").createKey(new Uint8Array(32).fill(7));
          const format = { frameLength: 4096, regularAadPrefix: new Uint8Array(4), finalAadPrefix: new Uint8Array(5) };
          const text = new Uint8Array(600_000).fill(9);
          let digest = 0;
          for (let i = 0; i < 5; i++) {
            const sealed = key.frameCipher(format, 3).seal([text], 1, 146, 1984, 0);
            digest = require("node:crypto").createHash("sha256").update(sealed).digest("hex");
          }
          parentPort.postMessage(digest);
        });`)}.replace("URL", ${JSON.stringify(compiled.url)});
      const run = () => new Promise((resolve, reject) => {
        new Worker(source, { eval: true, execArgv: [] }).once("message", resolve).once("error", reject);
      });
      const digests = await Promise.all(Array.from({ length: ${SLOW ? 64 : 12} }, run));
      console.log(new Set(digests).size);`);
    expect(out.trim()).toBe("1");
  }, 120_000);
  test("keys that nobody disposes of are collected, and results survive collection", async () => {
    const out = await expectCleanExit(
      `
      const results = [];
      for (let i = 0; i < 2_000; i++) {
        const key = engine.createKey(new Uint8Array(32).fill(i));
        key.startSeal(new Uint8Array(12), new Uint8Array(0)).update(new Uint8Array(10));
        const sealed = key.seal(new Uint8Array(12), new Uint8Array(0), text.subarray(0, 1000 + i));
        if (i % 100 === 0) { results.push(sealed); globalThis.gc(); await new Promise((resolve) => setImmediate(resolve)); }
      }
      globalThis.gc();
      for (const [i, sealed] of results.entries()) {
        const key = engine.createKey(new Uint8Array(32).fill(100 * i));
        if (key.open(new Uint8Array(12), new Uint8Array(0), sealed) === null) throw new Error("changed");
      }
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 100_000; i++) engine.createKey(new Uint8Array(32)).dispose();
      for (let i = 0; i < 40; i++) {
        flood(newCipher(), 2);
        globalThis.gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      const grown = (process.memoryUsage().rss - before) / 2 ** 20;
      console.log(grown < 100 ? "flat" : grown);`,
      ["--expose-gc"],
    );
    expect(out.trim()).toBe("flat");
  }, 60_000);
  test("a writer that races with opening shared memory gets an error or the true plaintext", async () => {
    const out = await expectCleanExit(`
      const key = engine.createKey(randomBytes(32));
      const [nonce, aad, plaintext] = [randomBytes(12), randomBytes(9), randomBytes(50_000)];
      const sealed = key.seal(nonce, aad, plaintext);
      const shared = new Uint8Array(new SharedArrayBuffer(sealed.length));
      shared.set(sealed);
      const stop = new Int32Array(new SharedArrayBuffer(4));
      const worker = new Worker(\`
        const { workerData: { shared, stop } } = require("node:worker_threads");
        while (Atomics.load(stop, 0) === 0) { for (let i = 0; i < 50; i++) shared[20_000 + i] ^= 1; for (let i = 0; i < 50; i++) shared[20_000 + i] ^= 1; }
      \`, { eval: true, execArgv: [], workerData: { shared, stop } });
      await new Promise((resolve) => worker.once("online", resolve));
      let [right, wrong, refused] = [0, 0, 0];
      for (let i = 0; i < ${SLOW ? 100_000 : 3_000}; i++) {
        const opened = key.open(nonce, aad, shared);
        if (opened === null) refused++;
        else if (plaintext.equals(opened)) right++;
        else wrong++;
      }
      Atomics.store(stop, 0, 1);
      await worker.terminate();
      console.log(JSON.stringify({ wrong, seen: right + refused > 0 }));`);
    expect(JSON.parse(out)).toEqual({ wrong: 0, seen: true });
  }, 60_000);
});
