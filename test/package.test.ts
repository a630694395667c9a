// What an outsider gets: the files of the package, its entries, what loading it costs in packages.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

async function namesOf(entry: string): Promise<string[]> {
  const script = `console.log(JSON.stringify(Object.keys(await import(${JSON.stringify(entry)})).sort()))`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
  return JSON.parse(stdout);
}

describe("package", () => {
  test("holds what it should and nothing else", { timeout: 30_000 }, async () => {
    const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: root,
      maxBuffer: 2 ** 24,
    });
    const answer = JSON.parse(stdout);
    const [pack] = Array.isArray(answer) ? answer : Object.values<typeof answer>(answer);
    const files: string[] = pack.files.map((file: { path: string }) => file.path);
    for (const file of [
      "dist/index.js",
      "dist/index.d.ts",
      "dist/cli/main.js",
      "dist/bench/command.js",
      "dist/bench/page.js",
      "dist/binding.gyp",
      "native/addon.cpp",
      "native/build.mjs",
      "native/load.js",
      "LICENSE",
    ])
      expect(files).toContain(file);
    // A binding.gyp at the top of the package makes npm compile it wherever it is installed from a lockfile.
    expect(
      files.filter((file) => /^(test|bench|src|binding\.gyp|dist\/(demo|bench\/scripts)\/|\.)/.test(file)),
    ).toEqual([]);
  });

  test("installs without scripts", async () => {
    const { scripts, gypfile } = JSON.parse(
      await readFile(new URL("../package.json", import.meta.url), "utf8"),
    );
    expect(gypfile).toBe(false);
    // npm announces `prepare` of a package that is installed from a file.
    expect(Object.keys(scripts).filter((name) => /^((pre|post)?install|prepare)$/.test(name))).toEqual([]);
  });

  test("every entry has code and types for import and for require, under node10 too", async () => {
    const { exports, typesVersions } = JSON.parse(
      await readFile(new URL("../package.json", import.meta.url), "utf8"),
    );
    const entries = Object.entries<Record<string, { types: string; default: string }>>(exports).filter(
      ([name]) => name !== "./package.json",
    );
    expect(entries.length).toBeGreaterThan(4);
    for (const [name, entry] of entries) {
      const file = `./dist/${name === "." ? "index" : name.slice(2)}`;
      expect(entry).toEqual({
        import: { types: `${file}.d.ts`, default: `${file}.js` },
        require: { types: `${file}.d.cts`, default: `${file}.cjs` },
      });
      if (name !== ".") expect(typesVersions["*"][name.slice(2)]).toEqual([`${file}.d.cts`]);
      for (const { types, default: code } of Object.values(entry))
        for (const path of [types, code])
          expect(existsSync(new URL(`../${path}`, import.meta.url))).toBe(true);
    }
  });

  test("require gives the same classes as import", async () => {
    const script = `
      import { createRequire } from "node:module";
      import { FramesealError } from "frameseal";
      console.log(createRequire(import.meta.url)("frameseal").FramesealError === FramesealError);`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    expect(stdout).toBe("true\n");
  });

  test("both loaders name every binary that is prebuilt, by a literal path", async () => {
    const read = (file: string) => readFile(new URL(`../native/${file}`, import.meta.url), "utf8");
    const built = [...(await read("prebuild.mjs")).matchAll(/name: "([^"]+\.node)"/g)].map(
      ([, name]) => name,
    );
    expect(built.length).toBe(7);
    for (const [loader, literal] of [
      ["addon.js", /path\.join\(__dirname, "\.\.\/prebuilds\/([^"]+)"\)/g],
      ["addon-bundled.js", /require\("\.\.\/prebuilds\/([^"]+)"\)/g],
    ] as const) {
      const named = [...(await read(loader)).matchAll(literal)].map(([, name]) => name);
      expect(named.sort(), loader).toEqual(built.sort());
    }
  });

  test.each<[string, string[]]>([
    [
      "frameseal",
      [
        "CachingKeyring",
        "FramesealError",
        "MultiKeyring",
        "RawAesKeyring",
        "RawRsaKeyring",
        "ciphertextLength",
        "createDecryptStream",
        "createEncryptStream",
        "createEngine",
        "decrypt",
        "decryptFile",
        "decryptWebStream",
        "encrypt",
        "encryptFile",
        "encryptWebStream",
        "engineInfo",
        "inspectFile",
        "inspectHeader",
        "keepFreedMemory",
        "keyringFromKeyFile",
        "openMessage",
        "plaintextLength",
        "prepareMessage",
        "verifyFile",
        "writeAesKeyFile",
        "writeRsaKeyFiles",
      ],
    ],
    [
      "frameseal/client-node",
      [
        "AlgorithmSuiteIdentifier",
        "AwsKmsMrkAwareSymmetricDiscoveryKeyringNode",
        "AwsKmsMrkAwareSymmetricKeyringNode",
        "CommitmentPolicy",
        "EncryptedDataKey",
        "KeyringNode",
        "KeyringTraceFlag",
        "KmsKeyringNode",
        "MessageFormat",
        "MultiKeyringNode",
        "NodeAlgorithmSuite",
        "NodeCachingMaterialsManager",
        "NodeDecryptionMaterial",
        "NodeDefaultCryptographicMaterialsManager",
        "NodeEncryptionMaterial",
        "NotSupported",
        "RawAesKeyringNode",
        "RawAesWrappingSuiteIdentifier",
        "RawRsaKeyringNode",
        "SignaturePolicy",
        "buildAwsKmsMrkAwareDiscoveryMultiKeyringNode",
        "buildAwsKmsMrkAwareStrictMultiKeyringNode",
        "buildClient",
        "buildDecrypt",
        "buildEncrypt",
        "cacheClients",
        "cacheKmsClients",
        "excludeRegions",
        "getClient",
        "getCompatibleCommitmentPolicy",
        "getKmsClient",
        "getLocalCryptographicMaterialsCache",
        "immutableClass",
        "limitRegions",
        "needs",
        "oaepHashSupported",
        "readOnlyProperty",
        "unwrapDataKey",
      ],
    ],
    ["frameseal/kms", ["KmsKeyring"]],
    [
      "frameseal/s3",
      [
        "asCopySource",
        "decryptObject",
        "deriveSseCKey",
        "encryptObject",
        "encryptS3Client",
        "explainPolicy",
        "exportMultipartUpload",
        "fileMultipartStates",
        "getDefaultEncryption",
        "importMultipartUpload",
        "requireEncryptionPolicy",
        "rewrapObject",
        "serverSideEncryptS3Client",
        "setDefaultEncryption",
        "sqliteMultipartStates",
        "sseC",
        "sseCVersionFromTags",
        "sseCVersionTagging",
        "sseKms",
        "sseS3",
        "withSseCKey",
      ],
    ],
  ])("%s exports these names", async (entry, names) => {
    expect(await namesOf(entry)).toEqual(names);
  });

  test("the entries share their classes and registries", async () => {
    const script = `
      import { FramesealError, RawAesKeyring } from "frameseal";
      import { decryptObject, encryptObject } from "frameseal/s3";
      const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: new Uint8Array(32).fill(1) });
      const location = { bucket: "b", key: "k" };
      const options = { keyring, format: "s3ec-v3" }; // finds the wrapping key through a registry
      const object = await encryptObject(location, Buffer.from("text"), options);
      object.body[0] ^= 1;
      const error = await decryptObject(location, object, options).catch((error) => error);
      console.log(error instanceof FramesealError, error.code);`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    expect(stdout).toBe("true AUTHENTICATION_FAILED\n");
  });

  test.skipIf(availableParallelism() === 1)("the Node engine finds its worker threads", async () => {
    const script = `
      import { setTimeout as sleep } from "node:timers/promises";
      import { encrypt, RawAesKeyring } from "frameseal";
      let results = 0;
      process.on("worker", (worker) => worker.on("message", () => results++));
      const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: new Uint8Array(32).fill(1) });
      const plaintext = new Uint8Array(8 * 2 ** 20);
      for (let i = 0; results === 0 && i < 500; i++) {
        await encrypt(plaintext, { keyring, engine: "node" });
        await sleep(1);
      }
      console.log(results > 0);`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    expect(stdout).toBe("true\n");
  });

  test("loading the library loads no other package, and no AWS SDK", async () => {
    const hook = `
      export async function resolve(name, context, next) {
        if (!/^(node:|\\.|\\/|file:|frameseal)/.test(name)) console.log("package", name);
        return next(name, context);
      }`;
    const script = `
      import { register } from "node:module";
      register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hook)}));
      await import("frameseal");
      await import("frameseal/client-node");
      await import("frameseal/s3");`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: root });
    expect(stdout.match(/@aws-sdk|commander/g)).toBeNull();
    expect(new Set(stdout.match(/^package .*$/gm)).size).toBeLessThanOrEqual(1); // node-gyp-build
  });
});
