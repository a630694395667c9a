// How the limit follows what a server answers.
import fc from "fast-check";
import { expect, test } from "vitest";
import { InFlight } from "../../../src/backup/transfer/in-flight.ts";

const failure = (status: number): Error =>
  Object.assign(new Error("failed"), { $metadata: { httpStatusCode: status } });

test("one more after each window of successes, up to the most", () => {
  const inFlight = new InFlight(10);
  expect(inFlight.limit).toBe(8);
  for (let i = 0; i < 7; i++) inFlight.begin().succeeded();
  expect(inFlight.limit).toBe(8);
  inFlight.begin().succeeded();
  expect(inFlight.limit).toBe(9);
  for (let i = 0; i < 100; i++) inFlight.begin().succeeded();
  expect(inFlight.limit).toBe(10);
});

test("no more while less is in flight than may be", () => {
  const inFlight = new InFlight(64);
  let isFull = false;
  inFlight.bind(
    () => isFull,
    () => {},
  );
  for (let i = 0; i < 100; i++) inFlight.begin().succeeded();
  expect(inFlight.limit).toBe(8);
  isFull = true;
  for (let i = 0; i < 8; i++) inFlight.begin().succeeded();
  expect(inFlight.limit).toBe(9);
});

test.each([
  ["503", failure(503), 4],
  ["429", failure(429), 4],
  ["500", failure(500), 4],
  ["504", failure(504), 4],
  ["a time-out", Object.assign(new Error("x"), { name: "TimeoutError" }), 4],
  ["a broken connection", Object.assign(new Error("x"), { code: "ECONNRESET" }), 4],
  ["501", failure(501), 8],
  ["404", failure(404), 8],
  ["412", failure(412), 8],
  ["an abort", Object.assign(new Error("x"), { name: "AbortError" }), 8],
])("after %s", (_, error, limit) => {
  const inFlight = new InFlight(8);
  inFlight.begin().failed(error);
  expect(inFlight.limit).toBe(limit);
});

test("halved once for all that were on their way, and again only by what was sent later", () => {
  const inFlight = new InFlight(8);
  const together = Array.from({ length: 8 }, () => inFlight.begin());
  for (const attempt of together.slice(0, 6)) attempt.failed(failure(503));
  expect(inFlight.limit).toBe(4);
  for (const attempt of together.slice(6)) attempt.succeeded();
  const later = inFlight.begin();
  later.failed(failure(503));
  expect(inFlight.limit).toBe(2);
});

test("never below one, never above the most, for any answers", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("good", "bad")),
      fc.integer({ min: 1, max: 20 }),
      (answers, most) => {
        const inFlight = new InFlight(most);
        for (const answer of answers) {
          const attempt = inFlight.begin();
          if (answer === "good") attempt.succeeded();
          else attempt.failed(failure(503));
          expect(inFlight.limit).toBeGreaterThanOrEqual(1);
          expect(inFlight.limit).toBeLessThanOrEqual(most);
        }
        expect(inFlight.attempts).toBe(answers.length);
      },
    ),
  );
});
