// The Node engine with its worker threads. They load compiled JavaScript, so that the engine is compiled first.
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from "vitest";
import { type FrameCipher, NO_FINAL_FRAME } from "../../../src/engine/engine.ts";
import { nodeEngine as sourceEngine } from "../../../src/engine/node/engine.ts";
import { workerPool as sourcePool } from "../../../src/engine/node/worker-pool.ts";
import { compileEngine, runChild } from "../compiled.ts";
import { describeEngine, FORMAT } from "../conformance.ts";

const compiled = compileEngine();
const load = (name: string) => import(new URL(name, compiled.url).href);
const { nodeEngine } = (await load("node/engine.js")) as { nodeEngine: typeof sourceEngine };
const { workerPool } = (await load("node/worker-pool.js")) as { workerPool: typeof sourcePool };
const { NodeFrameCipher } = (await load("node/frames.js")) as { NodeFrameCipher: { prototype: FrameCipher } };

const MUCH = 2 ** 30;

async function startWorkers(): Promise<void> {
  while (!workerPool.isReady) {
    workerPool.count(MUCH, 2);
    await sleep(5);
  }
}

/** A cipher that may use workers, a second one that may not, and whoever disposes of their key. */
function ciphers(frameLength: number) {
  const key = nodeEngine.createKey(randomBytes(32));
  const [threaded, plain] = [2, 1].map((threads) => key.frameCipher({ frameLength, ...FORMAT }, threads));
  const { sealAsync, openAsync } = threaded ?? {};
  if (threaded === undefined || plain === undefined || sealAsync === undefined || openAsync === undefined)
    expect.fail("no asynchronous calls");
  return {
    key,
    plain,
    threaded,
    seal: sealAsync.bind(threaded),
    open: openAsync.bind(threaded),
  };
}

function cutAnywhere(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + Math.floor(Math.random() ** 4 * 300_000));
    chunks.push(bytes.subarray(at, end));
    at = end;
  }
  return chunks;
}

afterAll(() => compiled.remove());

// One core has no use for workers.
describe.skipIf(availableParallelism() === 1)("worker threads", () => {
  let jobs: MockInstance<typeof workerPool.run>;
  beforeEach(async () => {
    await startWorkers();
    jobs = vi.spyOn(workerPool, "run");
  });
  afterEach(() => vi.restoreAllMocks());

  describe("conformance", () => {
    let count = 0;
    afterEach(() => {
      count += jobs.mock.calls.length;
    });
    describeEngine("node with workers", nodeEngine);
    test("of which many calls went to a worker", () => expect(count).toBeGreaterThan(80));
  });

  test("do the work, and not the calling thread", async () => {
    const { key, plain, seal, open } = ciphers(4_096);
    const plaintext = randomBytes(400_000);
    const expected = plain.seal([plaintext], 1, 97, 2_688, 7);
    for (const method of ["sealInto", "openInto"] as const)
      vi.spyOn(NodeFrameCipher.prototype, method).mockImplementation(() => expect.fail("on this thread"));
    const sealed = await seal([plaintext], 1, 97, 2_688, 7);
    expect(Buffer.compare(sealed, expected)).toBe(0);
    const opened = await open([sealed.subarray(7)], 1, 97, 2_688);
    expect(opened.verifiedCount).toBe(98);
    expect(Buffer.compare(opened.plaintext, plaintext)).toBe(0);
    expect(sealed.buffer.byteLength).toBe(sealed.length);
    expect(opened.plaintext.buffer.byteLength).toBe(plaintext.length);
    key.dispose();
  });

  test("keep the key of a job under way when it is disposed of, and not longer", async () => {
    const { key, plain, seal } = ciphers(4_096);
    const plaintext = randomBytes(400_000);
    const expected = plain.seal([plaintext], 1, 97, 2_688, 7);
    const sealing = [seal([plaintext], 1, 97, 2_688, 7), seal([plaintext], 1, 97, 2_688, 7)];
    key.dispose();
    const given = jobs.mock.calls.map(([job]) => job.key);
    expect(given.map((each) => each.every((byte) => byte === 0))).not.toContain(true);
    for (const sealed of await Promise.all(sealing)) expect(Buffer.compare(sealed, expected)).toBe(0);
    expect(given.map((each) => each.every((byte) => byte === 0))).not.toContain(false);
    await expect(seal([plaintext], 1, 97, 2_688, 7)).rejects.toThrow("disposed of");
  });

  test("give what the calling thread gives, for runs of any shape cut anywhere", async () => {
    for (let round = 0; round < 60; round++) {
      const frameLength = 1 + Math.floor(Math.random() ** 6 * 300_000);
      const frameCount = Math.floor(Math.random() * Math.min(500, 3_000_000 / frameLength));
      const finalLength =
        Math.random() < 0.3 ? NO_FINAL_FRAME : Math.floor(Math.random() * (frameLength + 1));
      const first = 1 + Math.floor(Math.random() * 2 ** 31);
      const shape = `${frameCount} frames of ${frameLength}, final ${finalLength}, from ${first}`;
      const { key, plain, seal, open } = ciphers(frameLength);
      const plaintext = randomBytes(frameCount * frameLength + Math.max(0, finalLength));
      const expected = plain.seal([plaintext], first, frameCount, finalLength, round);
      const sealed = await seal(cutAnywhere(plaintext), first, frameCount, finalLength, round);
      if (Buffer.compare(sealed, expected) !== 0) expect.fail(`sealed wrongly: ${shape}`);
      const frames = Uint8Array.from(expected.subarray(round));
      if (round % 2 === 1 && frames.length > 0) {
        const at = Math.floor(Math.random() * frames.length);
        frames[at] = (frames[at] ?? 0) ^ 4;
      }
      const wanted = plain.open([frames], first, frameCount, finalLength);
      const opened = await open(cutAnywhere(frames), first, frameCount, finalLength);
      expect(opened.verifiedCount, shape).toBe(wanted.verifiedCount);
      if (Buffer.compare(opened.plaintext, wanted.plaintext) !== 0) expect.fail(`opened wrongly: ${shape}`);
      expect(opened.plaintext.buffer.byteLength).toBe(opened.plaintext.length);
      key.dispose();
    }
  });

  test("refuse wrong runs as the calling thread does", async () => {
    const { key, seal, open } = ciphers(16);
    const bytes = new Uint8Array(32);
    await expect(seal([bytes], 1, 1, NO_FINAL_FRAME, 0)).rejects.toThrow("internal error: run of");
    await expect(seal([bytes], 0xffffffff, 2, NO_FINAL_FRAME, 0)).rejects.toThrow(
      "internal error: not a run",
    );
    await expect(open([bytes], 1, 1, NO_FINAL_FRAME)).rejects.toThrow("internal error: run of");
    await expect(seal(["text" as unknown as Uint8Array], 1, 2, 0, 0)).rejects.toThrow(TypeError);
    key.dispose();
    await expect(seal([bytes], 1, 2, NO_FINAL_FRAME, 0)).rejects.toThrow("disposed");
  });

  test("leave no plaintext in memory that is used again", async () => {
    const { key, plain, seal, open } = ciphers(1_000);
    const plaintext = randomBytes(150_000);
    const frames = plain.seal([plaintext], 1, 150, NO_FINAL_FRAME, 0);
    const inputs: Uint8Array[] = [];
    jobs.mockRestore();
    const original = workerPool.run.bind(workerPool);
    vi.spyOn(workerPool, "run").mockImplementation(async (job) => {
      const result = await original(job);
      inputs.push(new Uint8Array(result.input.slice(0, job.inputLength)));
      return result;
    });
    await seal([plaintext], 1, 150, NO_FINAL_FRAME, 0);
    expect(inputs[0]?.length).toBe(plaintext.length);
    expect(inputs[0]?.every((byte) => byte === 0)).toBe(true);
    frames[100 * 1_032 + 50] = (frames[100 * 1_032 + 50] ?? 0) ^ 1;
    const opened = await open([frames], 1, 150, NO_FINAL_FRAME);
    expect(opened.plaintext.buffer.byteLength).toBe(100_000);
    // What was opened lies in memory of its own: the input is the ciphertext as it came.
    expect(Buffer.from(inputs[1] ?? []).equals(frames)).toBe(true);
    key.dispose();
  });

  test("serve many messages at once", async () => {
    const messages = Array.from({ length: 100 }, (_, i) => {
      const cipher = ciphers(4_096 + 16 * i);
      const frameCount = 1 + (i % 60);
      return { ...cipher, frameCount, plaintext: randomBytes(frameCount * (4_096 + 16 * i)) };
    });
    const sealing = messages.map(({ key, seal, plaintext, frameCount }) => {
      const promise = seal([plaintext], 1, frameCount, NO_FINAL_FRAME, 0);
      key.dispose();
      return promise;
    });
    for (const [i, sealed] of (await Promise.all(sealing)).entries()) {
      const message = messages[i];
      expect(sealed.length).toBe((message?.plaintext.length ?? 0) + 32 * (message?.frameCount ?? 0));
      expect(() => message?.plain.seal([], 1, 0, 0, 0)).toThrow("disposed");
    }
  });

  test("leave to the calling thread what is more than they have time for", async () => {
    const { key, seal, plain } = ciphers(65_536);
    const plaintext = randomBytes(20 * 65_536);
    const sealing = [1, 2, 3, 4, 5].map(() => seal([plaintext], 1, 20, NO_FINAL_FRAME, 0));
    expect(jobs).toHaveBeenCalledTimes(2);
    const expected = plain.seal([plaintext], 1, 20, NO_FINAL_FRAME, 0);
    for (const sealed of await Promise.all(sealing)) expect(Buffer.compare(sealed, expected)).toBe(0);
    key.dispose();
  });

  test("are not used with one thread", () => {
    const { key, plain, threaded } = ciphers(16);
    expect([plain.sealAsync, plain.openAsync]).toEqual([undefined, undefined]);
    expect(threaded.asyncFrom).toBeLessThan(MUCH);
    key.dispose();
  });
});

test("where the worker cannot be loaded, the calling thread does everything", async () => {
  const key = sourceEngine.createKey(new Uint8Array(32)); // beside the TypeScript source lies no such file
  const cipher = key.frameCipher({ frameLength: 4_096, ...FORMAT }, 2);
  const plaintext = randomBytes(2_000_000);
  const expected = cipher.seal([plaintext], 1, 488, 1_152, 0);
  for (let i = 0; i < 5; i++) {
    sourcePool.count(MUCH, 2);
    await sleep(30);
    expect(sourcePool.isReady).toBe(false);
    expect(cipher.asyncFrom).toBe(Number.POSITIVE_INFINITY);
    const sealed = await cipher.sealAsync?.([plaintext], 1, 488, 1_152, 0);
    expect(sealed !== undefined && Buffer.compare(sealed, expected)).toBe(0);
  }
  key.dispose();
});

describe.skipIf(availableParallelism() === 1)("life cycle of the workers", () => {
  const prelude = `
    import { Worker, isMainThread } from "node:worker_threads";
    import { randomBytes } from "node:crypto";
    import { setTimeout as sleep } from "node:timers/promises";
    const { nodeEngine } = await import(${JSON.stringify(new URL("node/engine.js", compiled.url).href)});
    const { workerPool } = await import(${JSON.stringify(new URL("node/worker-pool.js", compiled.url).href)});
    const workers = [];
    process.on("worker", (worker) => workers.push(worker));
    const text = randomBytes(4_096 * 1_000);
    const key = nodeEngine.createKey(new Uint8Array(32).fill(3));
    const format = { frameLength: 4_096, regularAadPrefix: new Uint8Array(40), finalAadPrefix: new Uint8Array(41) };
    const cipher = key.frameCipher(format, 2);
    const plain = key.frameCipher(format, 1);
    const expected = Buffer.from(plain.seal([text], 1, 1_000, -1, 0));
    const seal = () => cipher.sealAsync([text], 1, 1_000, -1, 0);
    const isRight = (sealed) => expected.equals(sealed);
    const start = async () => { while (!workerPool.isReady) { workerPool.count(2 ** 30, 2); await sleep(5); } };
  `;
  async function expectCleanExit(script: string, flags: readonly string[] = []): Promise<string> {
    const { status, signal, stdout, stderr } = await runChild(prelude + script, { flags });
    expect({ status, signal }, stderr).toEqual({ status: 0, signal: null });
    return stdout.trim();
  }

  test("they start after 16 MiB, and not for small messages", async () => {
    const out = await expectCleanExit(`
      for (let i = 0; i < 40_000; i++) cipher.seal([text.subarray(0, 4_096)], 1, 1, -1, 0);
      for (let i = 0; i < 40; i++) plain.seal([text], 1, 1_000, -1, 0);
      for (let i = 0; i < 4; i++) cipher.seal([text], 1, 1_000, -1, 0);
      await sleep(1);
      const before = workers.length;
      cipher.seal([text], 1, 1_000, -1, 0);
      await sleep(1);
      console.log(before, workers.length);`);
    expect(out).toBe("0 1");
  });
  test("work without any turn of the event loop reaches them", async () => {
    const out = await expectCleanExit(`
      const until = performance.now() + 20_000;
      while (cipher.asyncFrom === Infinity && performance.now() < until) {
        cipher.seal([text], 1, 1_000, -1, 0);
        await undefined;
      }
      console.log(cipher.asyncFrom < text.length, isRight(await seal()));`);
    expect(out).toBe("true true");
  });
  test("without work they do not keep the process alive, with work they do", async () => {
    // The workers must still be there at the end: else it came when they ended.
    const atEnd = `process.once("exit", () => console.log(workerPool.isReady));`;
    expect(await expectCleanExit(`await start(); ${atEnd}`)).toBe("true");
    const script = `await start(); ${atEnd} seal().then((sealed) => console.log(isRight(sealed)));`;
    expect(await expectCleanExit(script)).toBe("true\ntrue");
  });
  test("without work they end after a while, and start again after as much work", async () => {
    const out = await expectCleanExit(
      `
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (done, ms) => setTimeout(done, ms === 10_000 ? 100 : ms);
      await start();
      const first = isRight(await seal());
      const alive = setInterval(() => {}, 1_000);
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
      clearInterval(alive);
      const ended = !workerPool.isReady;
      cipher.seal([text], 1, 1_000, -1, 0);
      const waits = workers.length === 1;
      await start();
      console.log(first, ended, waits, isRight(await seal()), workers.length > 1);`,
    );
    expect(out).toBe("true true true true true");
  }, 60_000);
  test("a worker that ends rejects what it works on, and nothing else is lost", async () => {
    const out = await expectCleanExit(`
      const alive = setInterval(() => {}, 1_000); // a worker without work does not keep those alive who wait for its end
      const long = Buffer.alloc(4_096 * 20_000);
      let lost = 0;
      for (let round = 0; round < 5; round++) {
        if (round < 3) await start(); // the third failure is the last
        const running = Promise.allSettled([cipher.sealAsync([long], 1, 20_000, -1, 0), seal(), seal()]);
        await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
        const [first, ...ends] = await running;
        if (round >= 3 && first.status !== "fulfilled") throw first.reason;
        for (const { status, reason, value } of ends) {
          if (status === "fulfilled" && !isRight(value)) throw new Error("wrong bytes");
          if (status === "rejected" && reason.code !== "ENGINE_UNAVAILABLE") throw reason;
          if (status === "rejected") lost++;
        }
      }
      console.log(lost > 0);
      workerPool.count(2 ** 30, 2);
      console.log(workers.length, isRight(await seal()));
      clearInterval(alive);`);
    expect(out).toBe("true\n0 true");
  });
  test("process.exit with work in flight ends the process with its own status", async () => {
    for (const wait of ["", "await sleep(1);", "await sleep(5);"]) {
      const { status, signal, stderr } = await runChild(
        `${prelude} await start(); for (let i = 0; i < 6; i++) seal(); ${wait} process.exit(7);`,
      );
      expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: "" });
    }
  });
  test("the permission model without --allow-worker leaves the work on the calling thread", async () => {
    const flag = process.allowedNodeEnvironmentFlags.has("--permission")
      ? "--permission"
      : "--experimental-permission";
    const out = await expectCleanExit(
      `
      for (let i = 0; i < 8; i++) cipher.seal([text], 1, 1_000, -1, 0);
      await sleep(50);
      console.log(workerPool.isReady, cipher.asyncFrom, isRight(await seal()), workers.length);`,
      [flag, "--allow-fs-read=*"],
    );
    expect(out).toBe("false Infinity true 0");
  });
  test("a worker thread of the caller works alone, and can be terminated", async () => {
    const out = await expectCleanExit(`
      const source = ${JSON.stringify(`
        const { parentPort } = require("node:worker_threads");
        (async () => {
          const { nodeEngine } = await import("ENGINE");
          const { workerPool } = await import("POOL");
          const key = nodeEngine.createKey(new Uint8Array(32).fill(3));
          const format = { frameLength: 4096, regularAadPrefix: new Uint8Array(40), finalAadPrefix: new Uint8Array(41) };
          const cipher = key.frameCipher(format, 2);
          for (let i = 0; ; i++) {
            const sealed = await cipher.sealAsync([new Uint8Array(4096 * 1000)], 1, 1000, -1, 0);
            await new Promise((resolve) => setTimeout(resolve, 1));
            if (i === 6) parentPort.postMessage({ sealed, isReady: workerPool.isReady });
          }
        })();`)}
        .replace("ENGINE", ${JSON.stringify(new URL("node/engine.js", compiled.url).href)})
        .replace("POOL", ${JSON.stringify(new URL("node/worker-pool.js", compiled.url).href)});
      const worker = new Worker(source, { eval: true, execArgv: [] });
      const { sealed, isReady } = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
      await worker.terminate();
      text.fill(0);
      console.log(isReady, Buffer.from(plain.seal([text], 1, 1_000, -1, 0)).equals(sealed));`);
    expect(out).toBe("false true");
  });
  test("memory stays flat over many runs", async () => {
    const out = await expectCleanExit(
      `
      await start();
      const round = async () => { for (let i = 0; i < 60; i++) await seal(); };
      for (let i = 0; i < 3; i++) await round();
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 5; i++) await round();
      const grown = (process.memoryUsage().rss - before) / 2 ** 20;
      console.log(grown < 100 ? "flat" : grown);`,
    );
    expect(out).toBe("flat");
  }, 60_000);
});
