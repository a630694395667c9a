// RSA PKCS#1 v1.5: Node without implicit rejection refuses to unwrap (CVE-2023-46809). The refusal is tested here, and
// the messages are decrypted in a child process in which that protection has been reverted: this file again.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { decrypt } from "../../src/index.ts";
import { dafnySet } from "./esdk-sets.ts";
import { describeVectors } from "./foreign.ts";

const reverted = process.env.FRAMESEAL_TEST_PKCS1 === "reverted";
const READ_ALL = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;

/** True where the platform does PKCS#1 v1.5 without being told. */
function platformUnwraps(): boolean {
  const [major = 0] = process.versions.openssl.split(".").map(Number);
  const [, minor = 0] = process.versions.openssl.split(".").map(Number);
  return major > 3 || (major === 3 && minor >= 2);
}

describeVectors("messages wrapped with RSA PKCS#1 v1.5", () => {
  const vectors = dafnySet().filter(({ needsPkcs1 }) => needsPkcs1);

  test.runIf(!reverted && !platformUnwraps())("are reported as refused by the platform", async () => {
    let refused = 0;
    for (const { message, keyring, context } of vectors) {
      const attempt = decrypt(message, { keyring, encryptionContext: context, ...READ_ALL });
      await expect(attempt).rejects.toMatchObject({ code: "UNSUPPORTED" });
      refused += 1;
    }
    expect(vectors.length).toBeGreaterThanOrEqual(11);
    console.log(`vectors PKCS#1 v1.5: ${refused} of ${vectors.length} reported as refused by the platform`);
  });

  test.runIf(reverted)("decrypt where the platform allows it", async () => {
    let decrypted = 0;
    for (const { message, keyring, context, expected } of vectors) {
      const { plaintext } = await decrypt(message, { keyring, encryptionContext: context, ...READ_ALL });
      expect("plaintext" in expected && expected.plaintext.equals(plaintext)).toBe(true);
      decrypted += 1;
    }
    console.log(
      `vectors PKCS#1 v1.5: ${decrypted} of ${vectors.length} decrypted with the protection reverted`,
    );
  });

  test.runIf(!reverted)("decrypt in a child process that allows it", { timeout: 60_000 }, async () => {
    const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));
    const flags = platformUnwraps() ? [] : ["--security-revert=CVE-2023-46809"];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...flags, vitest, "run", "--pool=threads", fileURLToPath(import.meta.url)],
      {
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
        env: { ...process.env, FRAMESEAL_TEST_PKCS1: "reverted", NO_COLOR: "1" },
      },
    );
    const line = stdout.split("\n").find((text) => text.startsWith("vectors PKCS#1"));
    expect(line).toBe(
      `vectors PKCS#1 v1.5: ${vectors.length} of ${vectors.length} decrypted with the protection reverted`,
    );
    console.log(line);
  });
});
