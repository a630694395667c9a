// Entity tags: what may be sent in a condition, and what counts as the same.
import { expect, test } from "vitest";
import { pinnableETag, sameETag } from "../../src/s3/etag.ts";

test.each([
  ['"abc"', '"abc"'],
  ['"abc-3"', '"abc-3"'],
  ["abc", "abc"],
  ['W/"abc"', undefined],
  ['w/"abc"', undefined],
  [' W/"abc"', undefined],
  ["", undefined],
  [undefined, undefined],
])("%s may be sent as %s", (eTag, sent) => expect(pinnableETag(eTag)).toBe(sent));

test.each([
  ['"a"', '"a"', true],
  ['"a"', 'W/"a"', true],
  ['W/"a"', 'W/"a"', true],
  ["a", '"a"', true],
  ['"a"', '"b"', false],
  ['"a"', '"A"', false],
  ['"a"', undefined, false],
  [undefined, undefined, false],
])("%s and %s: %s", (a, b, same) => expect(sameETag(a, b)).toBe(same));
