// No class of others is tested for: `instanceof` is false for the values of another realm and of another copy.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import {
  errorCode,
  isAbortSignal,
  isArrayBuffer,
  isBlob,
  isBytes,
  isError,
  isErrorNamed,
  isReadable,
  isShared,
  isWebReadable,
} from "../src/shapes.ts";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** Where `instanceof` is right, by the class that is tested for, and why. */
const allowed: Readonly<Record<string, readonly [file: RegExp, why: string]>> = {
  Uint8Array: [/^shapes\.ts$/, "comes before the check of the shape, which takes longer"],
  ArrayBuffer: [/^shapes\.ts$/, "comes before the check of the shape, which takes longer"],
  SingleMessageFormat: [/^(s3|cli)\//, "made by the module that asks, never given by a caller"],
  FramedFormat: [/^(s3|cli)\//, "made by the module that asks, never given by a caller"],
  FramesealError: [/^keyring\/kms-keyring\.ts$/, "a service can give its errors any name"],
  EncryptionPlugin: [/^s3\/encrypt-s3-client\.ts$/, "a client of another copy is refused by name"],
  CachingKeyring: [/^s3\//, "keyrings of another copy do not show their wrapping keys anyway"],
  MultiKeyring: [/^s3\//, "keyrings of another copy do not show their wrapping keys anyway"],
  NodeDefaultCryptographicMaterialsManager: [/^compat\//, "managers of others are refused by name"],
  NodeCachingMaterialsManager: [/^compat\//, "managers of others are refused by name"],
  "sdk.PutObjectCommand": [/^backup\//, "made with the very module that asks"],
  "sdk.GetObjectCommand": [/^backup\//, "made with the very module that asks"],
  "sdk.ListObjectsV2Command": [/^backup\//, "made with the very module that asks"],
  ChangedWhileRead: [/^backup\//, "one process, one copy"],
  SourceIsAnother: [/^backup\//, "one process, one copy"],
  ToSdk: [/^backup\//, "one process, one copy"],
  BadAnswer: [/^backup\//, "one process, one copy"],
  DirectCommand: [/^backup\//, "one process, one copy"],
  PartialFailure: [/^cli\//, "one process, one copy"],
  UsageError: [/^cli\//, "one process, one copy"],
  CommandFailure: [/^cli\//, "one process, one copy"],
};

/** Uses of `instanceof` in a text that the table above does not allow. */
function foreignTests(file: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  return [...code.matchAll(/\binstanceof\s+([\w.]+)/g)]
    .map((match) => match[1] ?? "")
    .filter((name) => allowed[name]?.[0].test(file) !== true)
    .map((name) => `${file}: instanceof ${name}`);
}

describe("classes of others", () => {
  const files = readdirSync(src, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll(path.sep, "/"))
    .filter((file) => file.endsWith(".ts"));

  test("are tested for nowhere", () => {
    expect(files.length).toBeGreaterThan(100);
    expect(files.flatMap((file) => foreignTests(file, readFileSync(path.join(src, file), "utf8")))).toEqual(
      [],
    );
  });
  test("every exception is in use", () => {
    const used = files.flatMap((file) =>
      [...readFileSync(path.join(src, file), "utf8").matchAll(/\binstanceof\s+([\w.]+)/g)].map(
        ([, name]) => name,
      ),
    );
    expect(Object.keys(allowed).filter((name) => !used.includes(name))).toEqual([]);
  });
  test.each([
    ["s3/a.ts", "if (x instanceof Uint8Array) y();", ["s3/a.ts: instanceof Uint8Array"]],
    ["cli/a.ts", "e instanceof commander.CommanderError", ["cli/a.ts: instanceof commander.CommanderError"]],
    ["bytes.ts", "x instanceof UsageError", ["bytes.ts: instanceof UsageError"]],
    ["cli/a.ts", "x instanceof UsageError // y instanceof Blob", []],
  ])("are found in %s: %s", (file, text, found) => expect(foreignTests(file, text)).toEqual(found));
});

describe("values of another realm", () => {
  const there = <Value>(code: string): Value => runInNewContext(code) as Value;

  test("are none of our classes", () => {
    expect(there("new Uint8Array(1)") instanceof Uint8Array).toBe(false);
    expect(there("new TypeError('x')") instanceof Error).toBe(false);
  });
  test("are told by their shape", () => {
    expect(isBytes(there("new Uint8Array(1)"))).toBe(true);
    expect(isBytes(there("new Uint16Array(1)"))).toBe(false);
    expect(isBytes(there("({ length: 1, 0: 1 })"))).toBe(false);
    expect(isArrayBuffer(there("new ArrayBuffer(1)"))).toBe(true);
    expect(isShared(there("new Uint8Array(new SharedArrayBuffer(1))"))).toBe(true);
    expect(isShared(there("new Uint8Array(1)"))).toBe(false);
    expect(isError(there("new Error('x')"))).toBe(true);
    expect(isErrorNamed(there("new RangeError('x')"), "TypeError", "RangeError")).toBe(true);
    expect(errorCode(there("Object.assign(new Error('x'), { code: 'EPIPE' })"))).toBe("EPIPE");
  });
  test("nothing is taken for what it is not", () => {
    for (const value of [undefined, null, 0, "x", {}, [], () => {}])
      for (const is of [isBytes, isArrayBuffer, isError, isAbortSignal, isBlob, isReadable, isWebReadable])
        expect(is(value), `${is.name}(${String(value)})`).toBe(false);
  });
});
