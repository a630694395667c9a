// The queue under a clock of its own: what it promises for any jobs, any budget and any answers.
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type AdaptiveQueue,
  type Cost,
  createTransferQueue,
  type Kind,
  type TransferQueueOptions,
} from "../../../src/backup/transfer/queue.ts";
import { FramesealError } from "../../../src/errors.ts";
import { S3Server } from "../../support/s3-server.ts";
import { settled, VirtualTime } from "./virtual-time.ts";

const busy = (): Error => Object.assign(new Error("SlowDown"), { $metadata: { httpStatusCode: 503 } });

interface Bench {
  readonly time: VirtualTime;
  readonly queue: AdaptiveQueue;
  readonly controller: AbortController;
}
function bench(options: Partial<TransferQueueOptions> = {}): Bench {
  const [time, controller] = [new VirtualTime(), new AbortController()];
  const queue = createTransferQueue({
    maxInFlight: 8,
    memory: 1000,
    retries: 3,
    signal: controller.signal,
    random: () => 1,
    after: time.after,
    ...options,
  });
  return { time, queue, controller };
}

const plan = fc.oneof(
  fc.record({
    kind: fc.constant("small" as const),
    memory: fc.integer({ min: 16, max: 64 }),
    ms: fc.integer({ min: 1, max: 5 }),
    failures: fc.constantFrom(0, 0, 0, 1, 2),
  }),
  fc.record({
    kind: fc.constant("part" as const),
    memory: fc.integer({ min: 100, max: 1500 }),
    ms: fc.integer({ min: 1, max: 50 }),
    failures: fc.constantFrom(0, 0, 0, 1, 2),
  }),
);

/** What runs at a time, and what was started while the first of the other kind waited. */
class Witness {
  readonly running = new Map<number, Cost>();
  readonly started: Kind[] = [];
  readonly faults: string[] = [];
  readonly waiting: Record<Kind, number> = { small: 0, part: 0 };
  /** Starts of the other kind since the first one that waits has been the first. */
  readonly passedBy: Record<Kind, number> = { small: 0, part: 0 };
  mostPassedBy = 0;

  begin(id: number, cost: Cost, budget: number, most: number): void {
    this.running.set(id, cost);
    this.started.push(cost.kind);
    const other = cost.kind === "small" ? "part" : "small";
    this.waiting[cost.kind] -= 1;
    this.passedBy[cost.kind] = 0;
    this.passedBy[other] = this.waiting[other] === 0 ? 0 : this.passedBy[other] + 1;
    this.mostPassedBy = Math.max(this.mostPassedBy, this.passedBy[other]);
    const used = [...this.running.values()].reduce((sum, { memory }) => sum + memory, 0);
    if (used > budget && this.running.size > 1) this.faults.push(`${used} bytes of ${budget}`);
    if (this.running.size > most) this.faults.push(`${this.running.size} at a time`);
  }
}

test("for any jobs: each runs until it succeeds, within the budget and the limit, and none is passed by for ever", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 120 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 64, max: 2000 }),
      async (plans, maxInFlight, memory) => {
        const { time, queue } = bench({ maxInFlight, memory });
        const witness = new Witness();
        const all = plans.map((each, id) => {
          let left = each.failures;
          witness.waiting[each.kind] += 1;
          return queue.run(each, async () => {
            witness.begin(id, each, memory, maxInFlight);
            await time.wait(each.ms);
            witness.running.delete(id);
            if (left-- === 0) return id;
            witness.waiting[each.kind] += 1;
            throw busy();
          });
        });
        let isIdle = false;
        void queue.idle().then(() => {
          isIdle = true;
        });
        await time.run();
        expect(await Promise.all(all)).toEqual(plans.map((_, id) => id));
        expect(witness.faults).toEqual([]);
        expect(isIdle).toBe(true);
        // 1500 bytes of small ones with 16 bytes each, and those that run at a time.
        expect(witness.mostPassedBy).toBeLessThanOrEqual(1500 / 16 + 12);
        expect(queue.counts.retries).toBe(plans.reduce((sum, { failures }) => sum + failures, 0));
      },
    ),
    { numRuns: 60 },
  );
});

test("while both wait, each kind has its share of what is in flight", async () => {
  const { time, queue } = bench({ memory: 10_000 });
  const ended: Kind[] = [];
  const run = (kind: Kind, memory: number, ms: number): void =>
    void queue.run({ kind, memory }, async () => {
      await time.wait(ms);
      ended.push(kind);
    });
  // Long parts first and many: without shares they would fill all places.
  for (let i = 0; i < 100; i++) run("part", 1000, 100);
  for (let i = 0; i < 600; i++) run("small", 10, 1);
  await time.run(() => ended.length >= 300);
  expect(ended.filter((kind) => kind === "small").length).toBeGreaterThan(250);
  await time.run(() => ended.length >= 690);
  expect(ended.filter((kind) => kind === "part").length).toBeGreaterThan(0);
  await time.run();
  expect(ended.length).toBe(700);
});

test("a part that waits for memory does not block small ones, and is not kept out by them", async () => {
  const { time, queue } = bench({ memory: 1000 });
  const ends: { readonly kind: string; readonly at: number }[] = [];
  const run = (kind: Kind, memory: number, ms: number, name: string = kind): void =>
    void queue.run({ kind, memory }, async () => {
      await time.wait(ms);
      ends.push({ kind: name, at: time.now });
    });
  run("part", 700, 100, "first");
  run("part", 700, 10, "second");
  for (let i = 0; i < 2000; i++) run("small", 50, 1);
  await time.run();
  const at = (name: string): number => ends.find(({ kind }) => kind === name)?.at ?? 0;
  const whileFirst = ends.filter(({ kind, at }) => kind === "small" && at <= 100).length;
  expect(whileFirst).toBeGreaterThan(300); // of 250 bytes, five at a time
  expect(at("second")).toBeLessThan(130);
  expect(ends.length).toBe(2002);
});

test.each([
  ["few places", { maxInFlight: 4, memory: 1e6 }, { memory: 1, ms: 5 }, { memory: 1, ms: 1 }, 100],
  ["one place", { maxInFlight: 1, memory: 1e6 }, { memory: 1, ms: 5 }, { memory: 1, ms: 1 }, 20],
  ["a part of nearly all memory", { memory: 1000 }, { memory: 900, ms: 5 }, { memory: 100, ms: 1 }, 60],
  ["a part of more than all memory", { memory: 1000 }, { memory: 3000, ms: 5 }, { memory: 100, ms: 1 }, 160],
])("small ones that never end do not keep parts out: %s", async (_, options, part, small, most) => {
  const { time, queue } = bench(options);
  const ended: Record<Kind, number> = { small: 0, part: 0 };
  const run = (kind: Kind, { memory, ms }: { readonly memory: number; readonly ms: number }): void =>
    void queue.run({ kind, memory }, async () => {
      await time.wait(ms);
      ended[kind] += 1;
    });
  for (let i = 0; i < 2000; i++) run("small", small);
  for (let i = 0; i < 5; i++) run("part", part);
  await time.run(() => ended.part === 5);
  expect(ended.small).toBeGreaterThan(0);
  expect(ended.small).toBeLessThan(5 * most);
  await time.run();
  expect(ended).toEqual({ small: 2000, part: 5 });
});

test("parts that fill the memory leave small ones their share of it", async () => {
  const { time, queue } = bench({ memory: 1000 });
  const ended: Record<Kind, number> = { small: 0, part: 0 };
  const run = (kind: Kind, memory: number, ms: number): void =>
    void queue.run({ kind, memory }, async () => {
      await time.wait(ms);
      ended[kind] += 1;
    });
  for (let i = 0; i < 20; i++) run("part", 500, 100);
  for (let i = 0; i < 5000; i++) run("small", 50, 1);
  await time.run(() => ended.part === 4);
  expect(ended.small).toBeGreaterThan(700);
});

test("small ones that fill the memory leave parts their share of it", async () => {
  const { time, queue } = bench({ memory: 1000 });
  let parts = 0;
  let small = 0;
  for (let i = 0; i < 20_000; i++)
    void queue.run({ kind: "small", memory: 100 }, async () => {
      await time.wait(1);
      small += 1;
    });
  for (let i = 0; i < 20; i++)
    void queue.run({ kind: "part", memory: 300 }, async () => {
      await time.wait(100);
      parts += 1;
    });
  await time.run(() => parts === 20);
  expect(time.now).toBeLessThan(1200); // two at a time
  expect(small).toBeGreaterThan(1000);
});

test("what is larger than the budget runs alone", async () => {
  const { time, queue } = bench({ memory: 100 });
  const running = new Set<number>();
  const together: number[] = [];
  const sizes = [50, 5000, 50, 5000, 0, 50];
  const all = sizes.map((memory, id) =>
    queue.run({ kind: memory > 100 ? "part" : "small", memory }, async () => {
      running.add(id);
      await time.wait(5);
      if (memory > 100) together.push(running.size);
      running.delete(id);
    }),
  );
  await time.run();
  await Promise.all(all);
  expect(together).toEqual([1, 1]);
});

test("after an abort everything settles with its reason, whatever ran, waited or was to be run again", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 0, max: 200 }),
      fc.boolean(),
      async (plans, moment, areSilent) => {
        const { time, queue, controller } = bench({ maxInFlight: 3, memory: 1000 });
        const reason = new Error("enough");
        const outcomes: unknown[] = [];
        for (const each of plans) {
          let left = each.failures;
          queue
            .run(each, async () => {
              if (areSilent) await new Promise(() => {});
              await time.wait(each.ms);
              if (left-- > 0) throw busy();
              return "done";
            })
            .then(
              (result) => outcomes.push(result),
              (error) => outcomes.push(error),
            );
        }
        const told: unknown[] = [];
        queue.ready("part").then(
          () => told.push("ready"),
          (error) => told.push(error),
        );
        void queue.idle().then(() => told.push("idle"));
        time.after(moment, () => controller.abort(reason));
        await time.run();
        expect(outcomes.length).toBe(plans.length);
        expect(outcomes.every((outcome) => outcome === "done" || outcome === reason)).toBe(true);
        expect(told).toContain("idle");
        expect(told.length).toBe(2);
        const late = [queue.run({ kind: "small", memory: 1 }, async () => 1), queue.ready()];
        expect(await Promise.allSettled(late)).toEqual([
          { status: "rejected", reason },
          { status: "rejected", reason },
        ]);
        const idle = queue.idle();
        await time.run();
        await idle;
      },
    ),
    { numRuns: 40 },
  );
});

test("a walk waits while many wait, of its own kind alone", async () => {
  const { time, queue } = bench({ maxInFlight: 2, memory: 1000 });
  const run = (kind: Kind): void => void queue.run({ kind, memory: 1 }, () => time.wait(10));
  for (let i = 0; i < 50; i++) run("part");
  let isReady = false;
  await queue.ready();
  void queue.ready("part").then(() => {
    isReady = true;
  });
  await settled();
  expect(isReady).toBe(false);
  await time.run(() => isReady);
  expect(isReady).toBe(true);
  expect(time.now).toBeLessThan(500);
});

test.each([
  ["a server that is busy", busy(), 4],
  ["a connection that broke", Object.assign(new Error("x"), { code: "ECONNRESET", syscall: "read" }), 4],
  ["an error of the request", Object.assign(new Error("x"), { $metadata: { httpStatusCode: 403 } }), 1],
  ["a file that is not there", Object.assign(new Error("x"), { code: "ENOENT", syscall: "open" }), 1],
  ["a disk that is full", Object.assign(new Error("x"), { code: "ENOSPC", syscall: "write" }), 1],
  ["an argument of ours", Object.assign(new TypeError("x"), { code: "ERR_INVALID_ARG_TYPE" }), 1],
  ["what is not authentic", new FramesealError("AUTHENTICATION_FAILED", "x"), 1],
])("%s is tried again only if it may pass", async (_, error, attempts) => {
  const { time, queue } = bench();
  const delays: number[] = [];
  const before: number[] = [];
  const { queue: told } = bench({ after: time.after, onRetry: (_error, delay) => delays.push(delay) });
  const failed = told.run({ kind: "small", memory: 1 }, async () => {
    before.push(time.now);
    throw error;
  });
  const caught = failed.catch((reason: unknown) => reason);
  await time.run();
  expect(await caught).toBe(error);
  expect(before.length).toBe(attempts);
  expect(delays).toEqual([500, 1000, 2000].slice(0, attempts - 1));
  expect(await Promise.race([queue.idle(), "waits"])).toBe(undefined);
});

test("every attempt counts, also those that the SDK makes by itself; what fails together counts once", async () => {
  await using server = await S3Server.start();
  const client = server.client({ maxAttempts: 3 });
  const { queue } = bench({ memory: 1 << 20, after: undefined, random: () => 0 });
  queue.observe(client);
  await client.send(new CreateBucketCommand({ Bucket: "b" }));
  const { calls } = server;
  const first = calls.length;
  server.fault = (_, number) =>
    number <= first + 8 ? { kind: "error", status: 503, code: "SlowDown" } : undefined;
  // All of them are on their way before the first one fails.
  let allCame = (): void => {};
  const allThere = new Promise<void>((resolve) => {
    allCame = resolve;
  });
  server.delay = () => {
    if (calls.length >= first + 8) allCame();
    return allThere;
  };
  const put = (Key: string): Promise<unknown> =>
    queue.run({ kind: "small", memory: 10 }, (abortSignal) =>
      client.send(new PutObjectCommand({ Bucket: "b", Key, Body: "x" }), { abortSignal }),
    );
  await Promise.all(Array.from({ length: 8 }, (_, i) => put(`k${i}`)));
  expect(queue.counts.attempts).toBe(calls.length);
  expect(calls.length - first).toBe(16);
  expect(queue.counts.decreases).toBe(1);
  expect(queue.counts.lowestLimit).toBe(4);
  expect(queue.counts.retries).toBe(0);
});
