// Listings that come page by page: which of them get on, and which are refused.
import { describe, expect, test } from "vitest";
import { Onward } from "../../../src/s3/requests/onward.ts";

type Page = readonly [isTruncated: boolean | undefined, first: string | undefined, token: string | undefined];

/** How many pages are asked for, of as many as are wanted. */
function pagesOf(page: (number: number) => Page, most = 5000): number {
  const onward = new Onward("things");
  for (let number = 0; number < most; number++)
    if (onward.next(...page(number)) === undefined) return number + 1;
  return most;
}

describe("A listing gets on", () => {
  test("until it says that it ends", () => {
    expect(pagesOf((number) => [number < 9, `k${number}`, `t${number}`])).toBe(10);
    expect(pagesOf((number) => [true, `k${number}`, `t${number}`])).toBe(5000);
  });
  test("over some pages without anything in them", () => {
    expect(
      pagesOf((number) => [number < 900, number % 100 === 0 ? `k${number}` : undefined, `t${number}`]),
    ).toBe(901);
  });
});

describe("A listing is refused that", () => {
  test.each<[string, RegExp, (number: number) => Page]>([
    ["does not say whether it ends", /is no listing/, () => [undefined, undefined, undefined]],
    ["does not say where it goes on", /how it goes on/, () => [true, "k", undefined]],
    ["has nothing in it and does not end", /does not end/, (number) => [true, undefined, `t${number}`]],
    ["gives one token again", /circle/, (number) => [true, `k${number}`, "t"]],
    ["gives one of many tokens again", /circle/, (number) => [true, `k${number}`, `t${number % 700}`]],
    ["gives one page again", /circle/, (number) => [true, "k", `t${number}`]],
    [
      "gives many pages again",
      /circle/,
      (number) => [true, `k${number < 40 ? number : number % 33}`, `t${number}`],
    ],
  ])("%s", (_, text, page) => {
    expect(() => pagesOf(page)).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED", message: expect.stringMatching(text) }),
    );
  });
});
