import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decrypt, type Keyring } from "../../src/index.ts";

const exampleKeyring: Keyring = {
  generateDataKey: () => Promise.reject(new Error("not used")),
  wrapDataKey: () => Promise.reject(new Error("not used")),
  unwrapDataKey: async () => Uint8Array.from({ length: 32 }, (_, index) => index),
};

test("the worked example of FORMAT.md decrypts to what the document says", async () => {
  const document = readFileSync(new URL("../../src/format/FORMAT.md", import.meta.url), "utf8");
  const block = document.split("```hex\n")[1]?.split("```")[0] ?? "";
  const hex = block
    .split("\n")
    .map((line) => line.split(" ")[0])
    .join("");
  const message = Buffer.from(hex, "hex");
  expect(message.length).toBe(215);
  const { plaintext, header } = await decrypt(message, { keyring: exampleKeyring });
  expect(plaintext.toString()).toBe("hello, frameseal!");
  expect({ ...header.encryptionContext }).toEqual({ purpose: "doc" });
});
