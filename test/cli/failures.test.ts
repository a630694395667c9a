// Every kind of error becomes one line: bounded, without anything that a terminal obeys, with the documented exit code,
// in our words, and called a defect only where it is one.
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { getSystemErrorMap } from "node:util";
import { createContext, runInContext } from "node:vm";
import { describe, expect, test } from "vitest";
import {
  CommandFailure,
  describe as describeFailure,
  exitCodeOf,
  MAX_FAILURE_LENGTH,
  optionNames,
  UsageError,
} from "../../src/cli/failure.ts";
import { type ErrorCode, FramesealError } from "../../src/errors.ts";

const source = readFileSync(new URL("../../src/errors.ts", import.meta.url), "utf8");
/** All codes, as the type lists them. */
const codes = [
  ...(/export type ErrorCode =([\s\S]*?"ABORTED");/.exec(source)?.[1] ?? "").matchAll(/\| "(\w+)"/g),
].map(([, code]) => code as ErrorCode);
const hostile = "\u001b]52;c;aGk=\u0007\u202ename\u2066\n\r\u2028\0\ud800\u009b31m\u{e0041}\u00ad\u200b";

/** What holds of every failure. */
function textOf(error: unknown): string {
  const text = describeFailure(error);
  expect(text).toMatch(/^\S/);
  expect(text.length).toBeLessThanOrEqual(MAX_FAILURE_LENGTH);
  expect(text).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
  expect(text).not.toMatch(/\bat .*:\d+:\d+|\[object|NaN|ERR_INVALID_ARG/);
  return text;
}
const error = (fields: object, message = "library text"): Error => Object.assign(new Error(message), fields);
const notDefect = (value: unknown): string => {
  const text = textOf(value);
  expect(text).not.toMatch(/internal error|undefined/);
  return text;
};

describe("errors of the library", () => {
  /** README: 3 is not authentic, truncated, wrong key or wrong context, and nothing else. */
  const untrusted = new Set<ErrorCode>([
    ...([
      "AUTHENTICATION_FAILED",
      "TRUNCATED",
      "TRAILING_DATA",
      "INVALID_HEADER",
      "INVALID_METADATA",
    ] as const),
    ...(["INVALID_MANIFEST", "NO_DATA_KEY", "CONTEXT_MISMATCH", "NOT_ENCRYPTED"] as const),
  ]);
  test("are all known", () => expect(codes.length).toBeGreaterThanOrEqual(18));
  test.each(codes)("%s", (code) => {
    for (const message of ["what happened", hostile, "long ".repeat(10_000), ""]) {
      const failure = new FramesealError(code, message);
      if (message !== "") notDefect(failure);
      expect(exitCodeOf(failure)).toBe(untrusted.has(code) ? 3 : 1);
    }
    // From another copy of the package, marked by the SDK on its way.
    const other = error({ name: "FramesealError", code, $metadata: { attempts: 1 } });
    expect(exitCodeOf(other)).toBe(untrusted.has(code) ? 3 : 1);
    expect(notDefect(other)).toContain("library text");
  });
  test("a key that could not be asked for is not a wrong key", () => {
    const noKey = (...causes: Error[]): Error =>
      new FramesealError("NO_DATA_KEY", "no key", { cause: new AggregateError(causes) });
    expect(exitCodeOf(noKey(new FramesealError("NO_DATA_KEY", "another key")))).toBe(3);
    for (const cause of [
      new FramesealError("KEY_SERVICE", "AWS KMS could not decrypt"),
      new FramesealError("NETWORK", "broken"),
      error({ code: "ECONNREFUSED", syscall: "connect", address: "::1", port: 1 }),
      noKey(new FramesealError("KEY_SERVICE", "AWS KMS could not decrypt")),
    ])
      expect(exitCodeOf(noKey(new FramesealError("NO_DATA_KEY", "another key"), cause))).toBe(1);
  });
  test("causes are told in our words", () => {
    const cause = error({ code: "ENOSPC", syscall: "write", path: "spool" }, "ENOSPC: no space, write");
    expect(textOf(new FramesealError("KEY_SERVICE", "failed", { cause }))).toBe(
      "failed (spool: no space left on the device)",
    );
    const programmer = new TypeError("Cannot read properties of undefined");
    expect(textOf(new FramesealError("KEY_SERVICE", "failed", { cause: programmer }))).toBe("failed");
  });
});

describe("wrong arguments", () => {
  test.each(Object.entries(optionNames))("%s is %s", (name, shown) => {
    for (const Kind of [TypeError, RangeError]) {
      const failure = new Kind(`"${name}" expected something else, got this`);
      expect(exitCodeOf(failure)).toBe(2);
      expect(textOf(failure)).toBe(`${shown} expected something else, got this`);
    }
  });
  test("those of another realm, and from others, are told apart", () => {
    const context = createContext({});
    const foreign = runInContext(`new TypeError('"frameLength" expected a number, got text')`, context);
    expect(exitCodeOf(foreign)).toBe(2);
    for (const message of [
      "Cannot read properties of undefined (reading 'x')",
      '"client" expected an S3Client',
    ]) {
      expect(textOf(new TypeError(message))).toContain("internal error: TypeError");
      expect(exitCodeOf(new TypeError(message))).toBe(1);
    }
  });
  test("a source that changed is no mistake in the command line", () => {
    for (const name of ["ContentLength", "Body"]) {
      const failure = new RangeError(`"${name}" expected the length of the body, got 5`);
      expect(exitCodeOf(failure)).toBe(1);
      expect(textOf(failure)).toContain("changed while it was read");
    }
  });
});

describe("errors of the system", () => {
  const all = [...getSystemErrorMap()].filter(([, [code]]) => !/^EAI_|^EOF$|^UNKNOWN$/.test(code));
  test("all of them, with and without path and second path", () => {
    expect(all.length).toBeGreaterThan(60);
    for (const [errno, [code]] of all)
      for (const more of [{}, { path: "some/file" }, { path: "a", dest: "b" }, { path: hostile }]) {
        const failure = error({ code, errno, syscall: "open", ...more }, `${code}: text of node, open`);
        const text = notDefect(failure);
        if (code !== "EPIPE" && "path" in more && more.path === "some/file")
          expect(text).toMatch(/^some\/file: ./);
        expect(text).not.toContain("text of node");
        expect(exitCodeOf(failure)).toBe(code === "EPIPE" ? 141 : 1);
      }
  });
  test("a number without a name", () => {
    const failure = error({
      code: "Unknown system error -122",
      errno: -constants.errno.EDQUOT,
      syscall: "write",
    });
    expect(notDefect(failure)).toBe("the disk quota is used up");
  });
  test("a pipe that broke in the network is no closed output", () => {
    const failure = error({ code: "EPIPE", syscall: "write", $metadata: { attempts: 3 } });
    expect(exitCodeOf(failure)).toBe(1);
    expect(notDefect(failure)).toContain("cannot reach");
  });
});

describe("errors of services", () => {
  const answer = (name: string, httpStatusCode: number, message = name): Error =>
    Object.assign(error({ $metadata: { httpStatusCode } }, message), { name });
  test.each([301, 400, 401, 403, 404, 405, 409, 412, 413, 416, 429, 500, 501, 502, 503, 504, 507])(
    "HTTP %i",
    (status) => {
      for (const [name, message] of [
        ["AccessDenied", "Access Denied"],
        ["UnknownError", "UnknownError"],
        [String(status), ""],
        [hostile, hostile],
        ["X".repeat(5000), "long ".repeat(10_000)],
      ] as const) {
        const failure = answer(name, status, message);
        expect(notDefect(failure)).toMatch(/^the service answered /);
        expect(notDefect(failure)).toContain(`HTTP ${status}`);
        expect(exitCodeOf(failure)).toBe(1);
      }
    },
  );
  test("an answer that is of no service", () => {
    const message =
      "char '<' is not expected.:1:1\n  Deserialization error: to see the raw response, inspect the hidden";
    const failure = Object.assign(new SyntaxError(message), { $metadata: { httpStatusCode: 200 } });
    expect(notDefect(failure)).toMatch(/not of S3 or KMS \(HTTP 200\): look at --endpoint/);
  });
  test.each([
    ["CredentialsProviderError", "Could not load credentials from any providers", /AWS_ACCESS_KEY_ID/],
    ["CredentialsProviderError", "Could not resolve credentials using profile: [x]", /profile/],
    ["CredentialsProviderError", "The SSO session associated with this profile has expired", /aws sso login/],
    ["TokenProviderError", "Token is expired (SSO)", /aws sso login/],
    ["Error", "Region is missing", /--region/],
    ["Error", 'Region not accepted: region="a b" is not a valid hostname component.', /region/],
    ["EndpointError", "Invalid Configuration: FIPS", /endpoint/],
  ])("%s: %s", (name, message, text) => {
    const failure = Object.assign(new Error(message), { name });
    expect(notDefect(failure)).toMatch(text);
    expect(notDefect(failure)).not.toContain(message);
    expect(exitCodeOf(failure)).toBe(1);
  });
  test("addresses and headers that Node refuses", () => {
    expect(notDefect(error({ code: "ERR_INVALID_URL", input: "x" }, "Invalid URL"))).toContain("--endpoint");
    const header = error({ code: "ERR_INVALID_CHAR" }, 'Invalid character in header content ["x"]');
    expect(notDefect(header)).toContain("end of a line");
  });
});

describe("what is no error of anybody", () => {
  const unreadable = Proxy.revocable({}, {});
  unreadable.revoke();
  const thrower = new Error("x");
  Object.defineProperty(thrower, "message", {
    get: () => {
      throw new Error("hostile");
    },
  });
  const selfish = new FramesealError("KEY_SERVICE", "failed");
  Object.defineProperty(selfish, "cause", { value: selfish });
  test.each([
    ["undefined", undefined],
    ["null", null],
    ["text", hostile],
    ["a number", Number.NaN],
    ["a symbol", Symbol(hostile)],
    ["an object", { message: 5 }],
    ["an object without a prototype", Object.create(null)],
    ["a function", () => {}],
    ["a revoked proxy", unreadable.proxy],
    ["an error that throws", thrower],
    ["an error with a hostile name", Object.assign(new Error(hostile), { name: hostile })],
    ["an error of itself", selfish],
    ["a long one", new Error("x".repeat(1e6))],
  ])("%s", (name, value) => {
    const text = textOf(value);
    expect(exitCodeOf(value)).toBe(1);
    if (name !== "an error of itself") expect(text).toMatch(/^internal error: .*report it$/);
  });
  test("our own are said as they are", () => {
    expect([textOf(new UsageError("say it")), exitCodeOf(new UsageError("x"))]).toEqual(["say it", 2]);
    expect([textOf(new CommandFailure("say it")), exitCodeOf(new CommandFailure("x"))]).toEqual([
      "say it",
      1,
    ]);
  });
});
