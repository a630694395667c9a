// What every function that takes options must refuse, whatever it does with those that are right: wrong values, unknown
// names, what is no object; and how it must refuse them: at once, in one way, with one clear error.
import { describe, expect, test } from "vitest";

/** A function with options. */
export interface Taker {
  /** Calls it with `options` on top of those that it needs. */
  readonly call: (options: object) => unknown;
  /** Calls it with these options alone. */
  readonly bare: (options: never) => unknown;
  /** `throws` itself, or `rejects` its promise; never both. */
  readonly refuses: "throws" | "rejects";
  /** Names that have no default. */
  readonly needed?: readonly string[];
  /** For each option: passes only if the option arrives. */
  readonly effects: Readonly<Record<string, () => unknown>>;
  /** Whether unknown names are ignored unless they look like a mistyped one. */
  readonly ignoresUnknownNames?: boolean;
  /** Values of `junk` that are right, beyond those that are for every option of that name. */
  readonly accepts?: Readonly<Record<string, readonly string[]>>;
}

/** Values that hardly any option takes. */
export const junk: Readonly<Record<string, unknown>> = {
  null: null,
  NaN: Number.NaN,
  "a negative number": -1,
  "a fraction": 1.5,
  infinity: Number.POSITIVE_INFINITY,
  "2^60": 2 ** 60,
  "a number as text": "5",
  "an empty string": "",
  "a word": "nonsense",
  "a lone surrogate": "\ud800",
  "an object": {},
  "an array": [],
  "an array of numbers": [1],
  "a map": new Map([["a", "b"]]),
  "a set": new Set(["a"]),
  "an instance": new (class Pairs {
    a = "b";
  })(),
  "an heir": Object.create({ a: "b" }),
  "a date": new Date(0),
  true: true,
  "a bigint": 1n,
  "a symbol": Symbol("x"),
  "a function": () => {},
  bytes: new Uint8Array(3),
  "pairs of numbers": { a: 1 },
  "a promise": Promise.resolve("x"),
};
const texts = ["a number as text", "a word"];
/** What of it is right for an option of that name, wherever it is. */
const accepted: Readonly<Record<string, readonly string[]>> = {
  encryptionContext: ["an object"],
  newEncryptionContext: ["an object"],
  materialDescription: ["an object"],
  requiredEncryptionContextKeys: ["an array"],
  grantTokens: ["an array"],
  enableLegacyWrappingAlgorithms: ["true"],
  enableLegacyUnauthenticatedModes: ["true"],
  enforceRotation: ["true"],
  instructionFileSuffix: texts,
  newInstructionFileSuffix: texts,
  versionId: texts,
  spoolFolder: texts,
  keyId: texts,
  kmsKeyId: texts,
  partition: texts,
  bucket: texts,
  key: texts,
  keyNamespace: texts,
  keyName: texts,
  salt: ["bytes"],
  contentEncoding: texts,
  onProgress: ["a function"],
  onWarning: ["a function"],
};

/** How a call ended. */
export interface Refusal {
  readonly how: "throws" | "rejects" | "accepts";
  readonly text: string;
}
/** Calls, and tells how that ended. Streams that were made are destroyed. */
export async function refusalOf(call: () => unknown): Promise<Refusal> {
  const told = (error: unknown): string =>
    error instanceof Error ? `${error.name}: ${error.message}` : `nothing: ${String(error)}`;
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    return { how: "throws", text: told(error) };
  }
  try {
    const made = await result;
    if (typeof (made as { destroy?: unknown } | undefined)?.destroy === "function")
      (made as { on(name: string, listener: () => void): { destroy(): void } })
        .on("error", () => {})
        .destroy();
    return { how: "accepts", text: "" };
  } catch (error) {
    return { how: "rejects", text: told(error) };
  }
}

/** The tests of one function with the options `names`. */
export function describeTaker(callee: string, names: readonly string[], taker: Taker): void {
  const { call, bare, refuses, effects, needed = [] } = taker;
  describe(callee, () => {
    test.each(Object.keys(effects))("%s has its effect", async (name) => {
      await effects[name]?.();
    });
    test.each(names)("%s is refused when it is wrong", async (name) => {
      for (const [what, value] of Object.entries(junk)) {
        if (accepted[name]?.includes(what) || taker.accepts?.[name]?.includes(what)) continue;
        const { how, text } = await refusalOf(() => call({ [name]: value }));
        expect(text, `${name}: ${what}`).toMatch(
          new RegExp(`^(TypeError|RangeError): "(\\w+\\.)?${name}(\\.\\w+)?" expected`),
        );
        expect(text).not.toMatch(/\p{Cc}|.{300}/u);
        expect(how, `${name}: ${what}`).toBe(refuses);
      }
    });
    test("undefined stands for the default, and is none where an option is needed", async () => {
      const undefinedOf = (some: readonly string[]): object =>
        Object.fromEntries(some.map((name) => [name, undefined]));
      const optional = names.filter((name) => !needed.includes(name));
      expect(await refusalOf(() => call(undefinedOf(optional)))).toEqual({ how: "accepts", text: "" });
      for (const name of needed)
        expect((await refusalOf(() => call(undefinedOf([name])))).text).toMatch(
          new RegExp(`^(TypeError|RangeError): (?=.*"${name}")".* expected`),
        );
    });
    test("unknown names", async () => {
      for (const name of names)
        for (const mistyped of [name.toUpperCase(), `${name}s`, name.replace(/(.)(.)$/, "$2$1")]) {
          if (names.includes(mistyped)) continue;
          const { how, text } = await refusalOf(() => call({ [mistyped]: undefined }));
          expect(text, mistyped).toMatch(
            /^TypeError: "\w+" expected only known names, got \S+: did you mean \w+\?$/,
          );
          expect(how).toBe(refuses);
        }
      const other = await refusalOf(() => call({ qqqqqqqqqqqqqqqqqqqqqq: 1 }));
      if (taker.ignoresUnknownNames) expect(other.how).toBe("accepts");
      else expect(other.text).toMatch(/^TypeError: "\w+" expected only known names, got q+$/);
      const proto = await refusalOf(() => call(JSON.parse('{"__proto__":{"a":"b"}}')));
      expect(proto.how).toBe(taker.ignoresUnknownNames ? "accepts" : refuses);
      const long = await refusalOf(() => call({ ["\u001b[31m".repeat(1000)]: 1 }));
      expect(long.text).not.toMatch(/\p{Cc}|.{300}/u);
    });
    test("what is no object, or one whose names say nothing", async () => {
      for (const value of [null, 5, "text", [], new Map(), new Set(), Promise.resolve({}), () => {}]) {
        const { how, text } = await refusalOf(() => bare(value as never));
        // A policy alone is an option of its own.
        expect(text).toMatch(/^TypeError: "\w+" expected (an object|one of)/);
        expect(how).toBe(refuses);
      }
    });
    test("each option is read once, also where it is inherited", async () => {
      const reads = new Map<string, number>();
      const counting = Object.defineProperties(
        {},
        Object.fromEntries(
          names.map((name) => [
            name,
            {
              get: () => {
                reads.set(name, (reads.get(name) ?? 0) + 1);
                return undefined;
              },
            },
          ]),
        ),
      );
      await refusalOf(() => bare(Object.create(counting) as never));
      for (const [name, count] of reads) expect(count, name).toBe(1);
      expect(reads.size).toBeGreaterThan(0);
    });
  });
}
