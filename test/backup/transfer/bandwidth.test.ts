// What passes the limit in any span of time, by a clock of the test.
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Bandwidth, type Clock, limitBandwidth } from "../../../src/backup/transfer/bandwidth.ts";
import { parseTimetable } from "../../../src/backup/transfer/timetable.ts";
import { S3Server } from "../../support/s3-server.ts";
import { VirtualTime } from "./virtual-time.ts";

function clockOf(time: VirtualTime, date: () => Date = () => new Date(2026, 2, 2, 12)): Clock {
  return { now: () => time.now, date, after: (ms, then) => void time.after(ms, then) };
}

test("in any span no more passes than its time allows, a burst and one piece; and nearly as much, while there is work", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1024, max: 10_000_000 }),
      fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 100 }),
      async (rate, pieces) => {
        const time = new VirtualTime();
        const bandwidth = new Bandwidth(parseTimetable(String(rate)), clockOf(time));
        const passed: { readonly at: number; readonly bytes: number }[] = [];
        for (const bytes of pieces)
          void Promise.resolve(bandwidth.take(bytes)).then(() => passed.push({ at: time.now, bytes }));
        await time.run();
        expect(passed.map(({ bytes }) => bytes)).toEqual(pieces);
        let total = 0;
        for (const { at, bytes } of passed) {
          expect(total).toBeLessThanOrEqual((rate * (at + 250)) / 1000 + 1);
          total += bytes;
        }
        // The last piece is let go at once, so all before it have been paid for.
        const before = total - (pieces.at(-1) ?? 0);
        expect(time.now).toBeLessThanOrEqual((before * 1000) / rate + pieces.length + 1000);
      },
    ),
    { numRuns: 50 },
  );
});

test("times of day are looked up again, whichever way the clock is set", async () => {
  const time = new VirtualTime();
  let hour = 12;
  const bandwidth = new Bandwidth(
    parseTimetable("08:00,1K 20:00,off"),
    clockOf(time, () => new Date(2026, 2, 2, hour)),
  );
  const step = async (): Promise<void> => {
    time.after(1000, () => {});
    await time.run();
  };
  expect(bandwidth.rate).toBe(1024);
  hour = 21;
  await step();
  expect(bandwidth.rate).toBe(Number.POSITIVE_INFINITY);
  expect(bandwidth.take(1e9)).toBeUndefined();
  hour = 9; // set back
  await step();
  expect(bandwidth.rate).toBe(1024);
  expect(bandwidth.take(10_000)).toBeUndefined();
  let hasPassed = false;
  void bandwidth.take(1)?.then(() => {
    hasPassed = true;
  });
  const from = time.now;
  time.after(2000, () => {
    hour = 22; // set forward: nobody waits for the 10 seconds that the first piece takes
  });
  await time.run(() => hasPassed);
  expect(hasPassed).toBe(true);
  expect(time.now - from).toBeLessThanOrEqual(4000);
});

/** A clock that goes forward when somebody waits for it. */
function hastyClock(): Clock & { elapsed: number } {
  const clock = {
    elapsed: 0,
    now: () => clock.elapsed,
    date: () => new Date(2026, 2, 2, 12),
    after: (ms: number, then: () => void) => {
      setImmediate(() => {
        clock.elapsed += ms;
        then();
      });
    },
  };
  return clock;
}

test("bodies of requests and answers pass unchanged, and take their time together", async () => {
  await using server = await S3Server.start();
  const client = server.client();
  const clock = hastyClock();
  limitBandwidth(client, new Bandwidth(parseTimetable("1M"), clock));
  await client.send(new CreateBucketCommand({ Bucket: "b" }));
  const Body = Buffer.alloc(3 * 2 ** 20, "frameseal");
  await client.send(new PutObjectCommand({ Bucket: "b", Key: "k", Body }));
  expect(server.object("b", "k").body.equals(Body)).toBe(true);
  expect(clock.elapsed).toBeGreaterThan(2700);
  expect(clock.elapsed).toBeLessThan(4000);
  const { Body: answer } = await client.send(new GetObjectCommand({ Bucket: "b", Key: "k" }));
  expect(Buffer.from((await answer?.transformToByteArray()) ?? []).equals(Body)).toBe(true);
  expect(clock.elapsed).toBeGreaterThan(5700);
});

test("a body is sent again when the SDK tries again", async () => {
  await using server = await S3Server.start();
  const client = server.client();
  limitBandwidth(client, new Bandwidth(parseTimetable("10M"), hastyClock()));
  await client.send(new CreateBucketCommand({ Bucket: "b" }));
  server.fault = (_, number) => (number === 2 ? { kind: "error", status: 503, code: "SlowDown" } : undefined);
  await client.send(new PutObjectCommand({ Bucket: "b", Key: "k", Body: Buffer.alloc(100_000, 1) }));
  expect(server.object("b", "k").body.length).toBe(100_000);
  expect(server.calls.length).toBe(3);
});

test.each(["before it is sent", "while it is sent"])("a request is aborted %s", async (moment) => {
  await using server = await S3Server.start();
  const client = server.client();
  const time = new VirtualTime(); // which passes no further than it is let
  const bandwidth = new Bandwidth(parseTimetable("100K"), clockOf(time));
  await client.send(new CreateBucketCommand({ Bucket: "b" }));
  limitBandwidth(client, bandwidth);
  if (moment === "before it is sent") void bandwidth.take(1_000_000);
  const controller = new AbortController();
  const sent = client
    .send(new PutObjectCommand({ Bucket: "b", Key: "k", Body: Buffer.alloc(1_000_000, 1) }), {
      abortSignal: controller.signal,
    })
    .catch((error: unknown) => error);
  if (moment === "while it is sent")
    while (server.calls.length < 2) await time.run(() => server.calls.length === 2);
  controller.abort();
  expect(await sent).toBeInstanceOf(Error);
  expect(server.buckets.get("b")?.has("k")).toBe(false);
});
