// Secrets have one kind of memory (`allocateSecret`, `copySecret`, `concatSecrets` of bytes.ts), keys are derived in one
// place (hkdf.ts), and what wraps a key into an object that keeps it until it is collected is named here. Whoever makes
// secret memory otherwise is found by how it reads, and has to be changed or to be given a row with a reason.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));
const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll(path.sep, "/"))
  .filter((file) => file.endsWith(".ts") && !file.startsWith("bench/") && file !== "testing.ts");

/** Functions of node:crypto that hold or give out keys, and the only files that may call them, with the reason. */
const callers: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  hkdfSync: {},
  hkdf: {},
  pbkdf2Sync: {},
  scryptSync: {},
  createHmac: {
    "backup/transfer/signature.ts": "the key of requests of a day, which the SDK keeps in the same way",
    "hkdf.ts": "derives keys",
    "keyring/rsa-unpad.ts": "a substitute that opens nothing",
    "s3/requests/multipart-state.ts": "a MAC, which is public",
  },
  createSecretKey: {
    "keyring/key-file.ts": "a wrapping key, which lives as long as its keyring",
    "keyring/raw-aes-keyring.ts": "a wrapping key, which lives as long as its keyring",
    "backup/names/aes-siv.ts": "keys of names, which live as long as a run",
    "compat/keyring-node.ts": "the peer's interface has a KeyObject; only who asks for one gets it",
  },
  createCipheriv: {
    "backup/names/aes-siv.ts": "ended in the same function",
    "engine/node/gcm.ts": "ended by whoever began it",
    "engine/node/segments.ts": "ended in the same function",
    "keyring/aes-gcm-wrap.ts": "ended in the same expression",
    "s3/single-message/sealer.ts": "ended in the same expression",
  },
  createDecipheriv: {
    "engine/node/gcm.ts": "ended by whoever began it",
    "keyring/aes-gcm-wrap.ts": "ended in the same function",
    "s3/single-message/sealer.ts": "ended in the same function",
    "s3/single-message/unauthenticated-body.ts": "ended with its stream",
    "s3/single-message/wrapped-key.ts": "its key is a wrapping key",
  },
  privateDecrypt: {
    "keyring/raw-rsa-keyring.ts": "wiped when the key has been copied",
    "keyring/rsa-unpad.ts": "wiped when the key has been copied",
    "s3/single-message/wrapped-key.ts": "wiped when the key has been copied",
  },
  randomFillSync: { "keyring/data-key.ts": "makes data keys, in memory for secrets" },
};

/** How secrets are called here. */
const secret = String.raw`(?:this\.)?#?(?:\w+\.)*#?(?:dataKey|rawKey|messageKey|contentKey|ledgerKey|stateKey|sideKey|masterKey|wrappingKey|pseudorandomKey|extracted|commitment|scalar|secret|secrets|padded|opened|Plaintext|ghash|key)`;
/** Ways to make memory that lies on V8's heap or in a shared pool. `asBuffer` and `subarray` make views. */
const copies = [
  String.raw`Uint8Array\.from\(\s*${secret}\s*[),]`,
  String.raw`Uint8Array\.of\(\s*\.\.\.${secret}\s*\)`,
  String.raw`new Uint8Array\(\s*${secret}\s*\)`,
  String.raw`Buffer\.from\(\s*${secret}\s*\)`,
  String.raw`Buffer\.(?:concat)\(\[[^\]]*(?<![\w.])${secret}(?![\w.(])[^\]]*\]`,
  String.raw`concatBytes\(\[[^\]]*(?<![\w.])${secret}(?![\w.(])[^\]]*\]`,
  String.raw`(?<![\w.])${secret}\.(?:slice|toString|toReversed|with|map|filter)\(`,
  String.raw`structuredClone\(\s*${secret}`,
  String.raw`\[\s*\.\.\.${secret}\s*\]`,
].map((pattern) => new RegExp(pattern, "g"));
/** Memory for a secret that is filled afterwards. */
const made =
  /(?:const|let|readonly)\s+#?(?:dataKey|rawKey|messageKey|contentKey|ledgerKey|stateKey|masterKey|wrappingKey|secret|scalar|ghash)\b[^=;]*=\s*(?:new Uint8Array\((?!\s*new ArrayBuffer)|Buffer\.alloc)/g;

/** Copies of what is called like a secret and is none, or is one for good. */
const allowed: Readonly<Record<string, string>> = {
  "backup/names/plain-names.ts: key.slice(": "the key of an object is its name",
  "compat/client.ts: new Uint8Array(header.commitment)": "of a message, so public",
  "keyring/aes-gcm-wrap.ts: concatBytes([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]":
    "a wrapped key",
  "s3/framed/key-binding.ts: key.slice(": "the key of an object is its name",
};

const codeOf = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "");

/** In operations on trees a `key` is the name of an object; what else is there of keys is in `names`. */
function isNameOfObject(file: string, text: string): boolean {
  return /^backup\/(?!names\/)/.test(file) && /(?:^|[\s(.])key(?:\.slice\($|\)$)/.test(text);
}

function faultsOf(file: string, code: string): string[] {
  const calls = Object.entries(callers).flatMap(([name, where]) => {
    const isCalled = new RegExp(String.raw`(?<![\w.#])${name}\b(?=\s*[(,}])`).test(
      code.replace(/import type [^;]*;/g, "").replace(/import [^;]* from "\.[^;]*;/g, ""),
    );
    const isOwn = name === "hkdf" && !/import [^;]*\bhkdf\b[^;]* from "node:crypto"/.test(code);
    return isCalled && !isOwn && where[file] === undefined ? [`${file}: ${name}`] : [];
  });
  const texts = [...copies, made]
    .flatMap((pattern) => [...code.matchAll(pattern)].map(([text]) => text))
    .filter((text) => !isNameOfObject(file, text));
  return [...calls, ...texts.map((text) => `${file}: ${text.replace(/\s+/g, " ")}`)].filter(
    (fault) => allowed[fault] === undefined,
  );
}

describe("secrets", () => {
  test("are made and copied in memory for secrets alone", () => {
    const faults = files.flatMap((file) =>
      file === "bytes.ts" ? [] : faultsOf(file, codeOf(readFileSync(path.join(src, file), "utf8"))),
    );
    expect(faults).toEqual([]);
  });

  test("no row is left over", () => {
    const codes = new Map(files.map((file) => [file, codeOf(readFileSync(path.join(src, file), "utf8"))]));
    for (const [name, where] of Object.entries(callers))
      for (const file of Object.keys(where)) expect(codes.get(file), `${name} in ${file}`).toContain(name);
  });

  test.each([
    "const copy = Uint8Array.from(dataKey);",
    "this.#dataKey = new Uint8Array(dataKey);",
    "return Uint8Array.from(this.#ledgerKey);",
    'send(Buffer.from(key).toString("base64"));',
    "const block = Buffer.concat([prefix, dataKey, suffix]);",
    "const block = concatBytes([Uint8Array.of(32), dataKey]);",
    "const half = secret.slice(0, 16);",
    'const text = contentKey.toString("base64");',
    "const list = [...dataKey];",
    "const other = structuredClone(dataKey);",
    "const dataKey = new Uint8Array(32);",
    "const secret = Buffer.alloc(32);",
    "const secret = Buffer.allocUnsafe(32);",
    'import { hkdfSync } from "node:crypto";\nhkdfSync("sha256", a, b, c, 32);',
    'import { createHmac } from "node:crypto";\ncreateHmac("sha256", dataKey).digest();',
    'import { createSecretKey } from "node:crypto";\ncreateSecretKey(dataKey);',
    'import { createDecipheriv } from "node:crypto";\ncreateDecipheriv("aes-256-gcm", dataKey, iv);',
    'import { privateDecrypt } from "node:crypto";\nprivateDecrypt(key, sealed);',
  ])("a new place is found: %s", (code) => {
    expect(faultsOf("somewhere/new.ts", code)).not.toEqual([]);
  });

  test.each([
    "const dataKey = copySecret(given);",
    "const key = allocateSecret(32);",
    "const view = asBuffer(dataKey).subarray(1);",
    "const { commitment } = header;",
    'const text = name.toString("utf8");',
  ])("what is right is let be: %s", (code) => {
    expect(faultsOf("somewhere/new.ts", code)).toEqual([]);
  });
});
