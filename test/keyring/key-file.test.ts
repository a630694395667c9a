import { execFileSync } from "node:child_process";
import { createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decrypt, encrypt } from "../../src/index.ts";
import { keyringFromKeyFile, writeAesKeyFile, writeRsaKeyFiles } from "../../src/keyring/key-file.ts";
import { wrappingKeysOf } from "../../src/keyring/raw-key.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "frameseal-key-file-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.skipIf(process.platform === "win32")(
  "a FIFO that nobody writes to is waited for until an abort",
  async () => {
    const path = join(folder, "fifo");
    execFileSync("mkfifo", [path]);
    const controller = new AbortController();
    const waiting = keyringFromKeyFile(path, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
    await writeFile(path, "{}"); // lets the thread go
  },
);

let count = 0;
async function fileWith(content: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(folder, `key-${count++}`);
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

const key = randomBytes(32);
const k = key.toString("base64url");
const spellings = [key.toString("hex"), key.toString("base64"), k, key.toString("latin1")];

describe("a JWK file", () => {
  test("written with keygen's defaults encrypts and decrypts, and nobody else may read it", async () => {
    const path = join(folder, "aes.jwk");
    const { keyName } = await writeAesKeyFile(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const written: unknown = JSON.parse(await readFile(path, "utf8"));
    expect(written).toMatchObject({ kty: "oct", kid: keyName, alg: "A256GCMKW" });
    const keyring = await keyringFromKeyFile(path);
    expect(keyring).toMatchObject({ keyNamespace: "frameseal", keyName });
    const sealed = await encrypt(Buffer.from("text"), { keyring });
    const { plaintext, header } = await decrypt(sealed, { keyring: await keyringFromKeyFile(path) });
    expect(Buffer.from(plaintext).toString()).toBe("text");
    expect(header.encryptedDataKeys[0]?.providerId).toBe("frameseal");
  });

  test.each([16, 24, 32] as const)("holds a key of %i bytes", async (keyLength) => {
    const path = join(folder, `aes-${keyLength}.jwk`);
    await writeAesKeyFile(path, { keyLength });
    const keyring = await keyringFromKeyFile(path);
    expect(wrappingKeysOf(keyring)?.secretKey?.symmetricKeySize).toBe(keyLength);
  });

  test("is read as written, with names of the caller's choice", async () => {
    const path = await fileWith(`\n ${JSON.stringify({ kty: "oct", kid: "mine", k })}\n`);
    const keyring = await keyringFromKeyFile(path, { keyNamespace: "space", keyName: "name" });
    expect(keyring).toMatchObject({ keyNamespace: "space", keyName: "name" });
    expect(wrappingKeysOf(keyring)?.secretKey?.equals(createSecretKey(key))).toBe(true);
    expect(await keyringFromKeyFile(path)).toMatchObject({ keyName: "mine" });
  });

  test("is never overwritten, not even through a symbolic link", async () => {
    const path = await fileWith("mine");
    await expect(writeAesKeyFile(path)).rejects.toMatchObject({ code: "EEXIST" });
    const link = join(folder, "dangling");
    await symlink(join(folder, "nowhere"), link);
    await expect(writeAesKeyFile(link)).rejects.toMatchObject({ code: "EEXIST" });
    expect(await readFile(path, "utf8")).toBe("mine");
  });

  test("that others may read is used with a warning", async () => {
    const warnings: string[] = [];
    const onWarning = (warning: string) => warnings.push(warning);
    const content = JSON.stringify({ kty: "oct", kid: "mine", k });
    await keyringFromKeyFile(await fileWith(content, 0o600), { onWarning });
    expect(warnings).toEqual([]);
    const wide = await fileWith(content, 0o640);
    await keyringFromKeyFile(wide, { onWarning });
    expect(warnings).toEqual([`key file ${wide} can be read by others (mode 0640): chmod 600 it`]);
  });

  test.each([
    ["cut in its middle", JSON.stringify({ kty: "oct", kid: "mine", k }).slice(0, 60)],
    ["of 31 bytes", JSON.stringify({ kty: "oct", kid: "a", k: key.subarray(1).toString("base64url") })],
    ["of 33 bytes", JSON.stringify({ kty: "oct", kid: "a", k: `${k}AA` })],
    [
      "with Base64 for base64url",
      JSON.stringify({ kty: "oct", kid: "a", k: Buffer.alloc(32, 255).toString("base64") }),
    ],
    ["with hex", JSON.stringify({ kty: "oct", kid: "a", k: key.toString("hex") })],
    ["with bits set behind the key", JSON.stringify({ kty: "oct", kid: "a", k: `${k.slice(0, 42)}B` })],
    ["without a key", JSON.stringify({ kty: "oct", kid: "a" })],
    ["of another type", JSON.stringify({ kty: "RSA", kid: "a", k })],
    ["for another algorithm", JSON.stringify({ kty: "oct", kid: "a", alg: "HS256", k })],
    ["for another key length", JSON.stringify({ kty: "oct", kid: "a", alg: "A128GCMKW", k })],
    ["for signatures", JSON.stringify({ kty: "oct", kid: "a", use: "sig", k })],
    ["with a number as name", JSON.stringify({ kty: "oct", kid: 7, k })],
    ["without a name", JSON.stringify({ kty: "oct", k })],
    ["in a set", JSON.stringify({ keys: [{ kty: "oct", kid: "a", k }] })],
    ["as raw bytes", key],
    ["as bare Base64", key.toString("base64")],
    ["as bare hex", key.toString("hex")],
    ["that is empty", ""],
    ["that is too long", `{${" ".repeat(70_000)}"kty":"oct"}`],
  ])("%s is refused without a word of what is in it", async (_name, content) => {
    const path = await fileWith(content);
    const error = await keyringFromKeyFile(path).catch((reason: unknown) => reason);
    expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
    const said = inspect(error, { depth: 9, showHidden: true });
    expect(said).toContain(path);
    expect((error as Error).message).toMatch(/^"(keyFile|keyName)" expected /);
    for (const spelling of spellings) {
      expect(said).not.toContain(spelling.slice(0, 12));
      expect(said).not.toContain(spelling.slice(-12));
    }
  });

  test("that does not exist or is a folder fails as the file system says", async () => {
    await expect(keyringFromKeyFile(join(folder, "absent"))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(keyringFromKeyFile(folder)).rejects.toMatchObject({ code: "EISDIR" });
    await expect(keyringFromKeyFile("/dev/zero")).rejects.toThrow('"keyFile" expected at most 65536 bytes');
  });
});

describe("RSA key files", () => {
  test("written as a pair: the public one encrypts, the private one decrypts", async () => {
    const path = join(folder, "rsa.pem");
    const { keyName, publicKeyPath } = await writeRsaKeyFiles(path, { modulusBits: 2048 });
    expect(keyName).toMatch(/^[0-9a-f]{16}$/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, "latin1")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(await readFile(publicKeyPath, "latin1")).toMatch(/^-----BEGIN PUBLIC KEY-----/);
    const warnings: string[] = [];
    const writer = await keyringFromKeyFile(publicKeyPath, { onWarning: (text) => warnings.push(text) });
    const reader = await keyringFromKeyFile(path);
    expect(warnings).toEqual([]);
    expect(writer.keyName).toBe(keyName);
    expect(reader.keyName).toBe(keyName);
    const sealed = await encrypt(Buffer.from("text"), { keyring: writer });
    expect((await decrypt(sealed, { keyring: reader })).plaintext).toHaveLength(4);
    await expect(encrypt(Buffer.from("text"), { keyring: reader })).rejects.toMatchObject({
      code: "NO_DATA_KEY",
    });
  });

  test("leave nothing behind when one of the two exists", async () => {
    const path = join(folder, "pair.pem");
    await writeFile(`${path}.pub`, "mine");
    await expect(writeRsaKeyFiles(path, { modulusBits: 2048 })).rejects.toMatchObject({ code: "EEXIST" });
    expect((await readdir(folder)).filter((name) => name.startsWith("pair.pem"))).toEqual(["pair.pem.pub"]);
    expect(await readFile(`${path}.pub`, "utf8")).toBe("mine");
  });

  test("of other types, with passphrase, broken or several are refused", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const locked = rsa.privateKey.export({
      type: "pkcs8",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "x",
    });
    const lockedOld = rsa.privateKey.export({
      type: "pkcs1",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "x",
    });
    const curve = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey;
    const cases: readonly (readonly [string | Buffer, string])[] = [
      [locked, "expected a key without passphrase"],
      [lockedOld, "expected a key without passphrase"],
      [curve, "expected an RSA key"],
      [`${pem}${pem}`, "expected one key, got several PEM blocks"],
      [`${pem.slice(0, 300)}\n-----END PRIVATE KEY-----\n`, "expected an RSA key in PEM, got a broken one"],
      [
        "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        "expected a private or public RSA key",
      ],
      [weak.export({ type: "pkcs8", format: "pem" }), "expected at least 2048 bits, got 1024"],
    ];
    for (const [content, message] of cases) {
      const error = await keyringFromKeyFile(await fileWith(content)).catch((reason: unknown) => reason);
      expect(inspect(error)).toContain(message);
      expect(inspect(error, { depth: 9 })).not.toContain(pem.slice(100, 130));
    }
    expect(
      await keyringFromKeyFile(await fileWith(rsa.privateKey.export({ type: "pkcs1", format: "pem" }))),
    ).toMatchObject({
      keyNamespace: "frameseal",
    });
  });
});
