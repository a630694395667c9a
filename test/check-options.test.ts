// What all checks of options have in common, tried on some of those that everybody uses.
import { randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { type Checks, checkOptions, needed, text, wholeNumber } from "../src/check-options.ts";
import { contextOption } from "../src/format/encryption-context.ts";
import { createEncryptStream, encrypt, inspectHeader, MultiKeyring, RawAesKeyring } from "../src/index.ts";

interface Example {
  readonly name: string;
  readonly count?: number | undefined;
}
const EXAMPLE: Checks<Example> = { name: needed(text), count: wholeNumber(0, 100) };
const checked = (given: object): Example => checkOptions("options", given as Example, EXAMPLE);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const plaintext = randomBytes(100);

describe("what was checked", () => {
  test("has every name itself, and nothing that all objects have", () => {
    expect(Object.keys(checked({ name: "a" }))).toEqual(["name", "count"]);
    Object.defineProperty(Object.prototype, "count", {
      value: "5",
      writable: true,
      configurable: true,
      enumerable: true,
    });
    Object.defineProperty(Object.prototype, "unknown", {
      value: 1,
      writable: true,
      configurable: true,
      enumerable: true,
    });
    try {
      expect(checked({ name: "a" }).count).toBeUndefined();
      expect(checked({ name: "a", count: 3 }).count).toBe(3);
    } finally {
      delete (Object.prototype as { count?: unknown }).count;
      delete (Object.prototype as { unknown?: unknown }).unknown;
    }
  });
  test("may stand behind an object, in a class, or come from another realm", () => {
    expect(checked(Object.create({ name: "behind", count: 1 }))).toEqual({ name: "behind", count: 1 });
    expect(
      checked(
        new (class {
          get name() {
            return "hidden";
          }
        })(),
      ),
    ).toMatchObject({ name: "hidden" });
    expect(checked(runInNewContext("({ name: 'there' })"))).toMatchObject({ name: "there" });
    expect(checked(Object.assign(Object.create(null), { name: "bare" }))).toMatchObject({ name: "bare" });
  });
  test("is read once", () => {
    let reads = 0;
    const given = {
      get name() {
        reads += 1;
        return reads === 1 ? "first" : 5;
      },
    };
    expect(checked(given).name).toBe("first");
    expect(reads).toBe(1);
  });
  test("has no -0", () => expect(Object.is(checked({ name: "a", count: -0 }).count, 0)).toBe(true));
});

describe("an encryption context", () => {
  const of = (value: unknown): unknown => contextOption("encryptionContext", value);
  test("has what it has itself", () => {
    expect({ ...(of({ a: "b" }) as object) }).toEqual({ a: "b" });
    const odd = of(JSON.parse('{"__proto__":"x","constructor":"y","toString":"z"}')) as object;
    expect(Object.entries(odd)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
      ["toString", "z"],
    ]);
  });
  test.each([
    ["inherits", Object.create({ a: "b" })],
    ["inherits from what has no prototype", Object.create(Object.assign(Object.create(null), { a: "b" }))],
    [
      "is of a class",
      new (class {
        a = "b";
      })(),
    ],
    ["is a list of pairs", [["a", "b"]]],
    ["is a map", new Map([["a", "b"]])],
    ["is a map of another realm", runInNewContext("new Map([['a', 'b']])")],
    ["is a form", new URLSearchParams({ a: "b" })],
    ["is text", "a=b"],
    ["has no text", { a: undefined }],
    ["has a list", { a: ["b"] }],
    ["has text that is none", { a: "\udc00" }],
  ])("is refused if it %s", (_, value) => expect(() => of(value)).toThrow(/^"encryptionContext" expected/));
  test("reads each value once", () => {
    let reads = 0;
    const given = Object.defineProperty({}, "a", { enumerable: true, get: () => String(++reads) });
    expect({ ...(of(given) as object) }).toEqual({ a: "1" });
  });
});

describe("what changes after the call changes nothing", () => {
  test("contexts and lists of their names", async () => {
    const encryptionContext: Record<string, string> = { tenant: "a", stored: "b" };
    const requiredEncryptionContextKeys = ["tenant"];
    const options = { keyring, encryptionContext, requiredEncryptionContextKeys };
    const stream = createEncryptStream(options);
    const message = encrypt(plaintext, options);
    encryptionContext.tenant = "changed";
    encryptionContext.stored = "changed";
    requiredEncryptionContextKeys.push("stored");
    stream.end(plaintext);
    for (const made of [await buffer(stream), await message])
      expect({ ...inspectHeader(made).encryptionContext }).toEqual({ stored: "b" });
  });
  test("the options themselves", async () => {
    const options: { keyring: typeof keyring; frameLength: number } = { keyring, frameLength: 1024 };
    const stream = createEncryptStream(options);
    options.frameLength = 2048;
    stream.end(plaintext);
    expect(inspectHeader(await buffer(stream)).frameLength).toBe(1024);
  });
  test("keyrings of a multi-keyring", async () => {
    const children = [keyring];
    const multi = new MultiKeyring({ generator: keyring, children });
    children.pop();
    expect(multi.children).toEqual([keyring]);
  });
});
