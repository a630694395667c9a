// Lengths that were told: what is kept of each object, and for how many.
import { expect, test } from "vitest";
import { type StoredIdentity, ToldSizes } from "../../src/s3/told-sizes.ts";

const identity = (key: string, eTag: string | undefined = '"e"', storedLength = 100): StoredIdentity => ({
  location: { bucket: "b", key },
  eTag,
  storedLength,
});

test("what was verified counts more than what was told, and that more than what was computed", () => {
  const sizes = new ToldSizes();
  const one = identity("one");
  expect(sizes.knownLength(one)).toBeUndefined();
  sizes.compute(one, 1);
  expect(sizes.knownLength(one)).toBe(1);
  sizes.verify(one, 3); // what was computed is no promise
  sizes.tell(one, 3);
  expect([sizes.knownLength(one), sizes.verifiedLength(one)]).toEqual([3, 3]);
  const two = identity("two");
  sizes.tell(two, 2);
  sizes.compute(two, 1);
  expect(sizes.knownLength(two)).toBe(2);
  for (let again = 0; again < 2; again++)
    expect(() => sizes.verify(two, 3)).toThrow(expect.objectContaining({ code: "INVALID_METADATA" }));
  expect(sizes.knownLength(two)).toBe(3);
});

test("another version, length, key or bucket is another object; an ETag is one with and without quotes", () => {
  const sizes = new ToldSizes();
  sizes.tell(identity("k"), 1);
  for (const other of [
    identity("k", '"f"'),
    identity("k", '"e"', 101),
    identity("l"),
    { ...identity("k"), location: { bucket: "c", key: "k" } },
  ]) {
    expect(sizes.knownLength(other)).toBeUndefined();
    sizes.verify(other, 2);
  }
  expect(sizes.knownLength(identity("k", "e"))).toBe(1);
});

test("without an ETag nothing is remembered", () => {
  const sizes = new ToldSizes();
  const nameless = { ...identity("k"), eTag: undefined };
  sizes.tell(nameless, 1);
  sizes.verify(nameless, 2);
  expect(sizes.knownLength(nameless)).toBeUndefined();
});

test("memory is bounded, and a long listing does not displace what was told", () => {
  const sizes = new ToldSizes();
  sizes.tell(identity("told"), 1);
  for (let number = 0; number < 20_000; number++) sizes.compute(identity(`listed ${number}`), number);
  expect(sizes.knownLength(identity("listed 0"))).toBeUndefined();
  expect(sizes.knownLength(identity("listed 19999"))).toBe(19_999);
  expect(() => sizes.verify(identity("told"), 2)).toThrow("1 were told");
});
