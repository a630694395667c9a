// What every keyring with AWS KMS in it does when KMS fails: one typed error or another key, never half a message,
// nothing of a data key in what is said, and the next call works again.
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  CachingKeyring,
  decrypt,
  encrypt,
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
} from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { ACCOUNT, FakeKms, type Fault } from "../support/fake-kms.ts";

const error = (type: string, status = 400): Fault => ({ kind: "error", type, status });
const change = (fields: Record<string, unknown>): Fault => ({
  kind: "answer",
  change: (answer) => ({ ...answer, ...fields }),
});
const faults: Readonly<Record<string, Fault>> = {
  AccessDenied: error("AccessDeniedException"),
  Throttling: error("ThrottlingException"),
  Disabled: error("DisabledException"),
  "pending deletion": error("KMSInvalidStateException"),
  NotFound: error("NotFoundException"),
  "500": error("KMSInternalException", 500),
  reset: { kind: "reset" },
  silence: { kind: "silence" },
  "malformed answer": { kind: "malformed" },
  "short data key": change({ Plaintext: randomBytes(16).toString("base64") }),
  "no data key": change({ Plaintext: undefined }),
  "another KeyId": change({
    KeyId: `arn:aws:kms:eu-west-1:${ACCOUNT}:key/00000000-0000-0000-0000-000000000000`,
  }),
  "no KeyId": change({ KeyId: undefined }),
};

const plaintext = randomBytes(100);
let kms: FakeKms;
let keyrings: Readonly<
  Record<string, { readonly keyring: () => Keyring; readonly survives: "none" | "reading" }>
>;
const table: string[] = [];

beforeAll(async () => {
  kms = await FakeKms.start();
  const [one, two] = [kms.createKey(), kms.createKey()];
  const client = kms.client("eu-west-1", { maxAttempts: 1 });
  // Short enough for silence, long enough for a busy machine.
  const common = { client, timeoutMs: 600 };
  const raw = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
  const strict = () => new KmsKeyring({ ...common, generatorKeyId: one });
  const caching = () => new CachingKeyring({ keyring: strict(), maxAgeMs: 60_000 });
  keyrings = {
    strict: { keyring: strict, survives: "none" },
    "strict, two keys": {
      keyring: () => new KmsKeyring({ ...common, generatorKeyId: one, keyIds: [two] }),
      survives: "none",
    },
    "KMS and a raw key": {
      keyring: () => new MultiKeyring({ generator: strict(), children: [raw] }),
      survives: "reading",
    },
    "a raw key and KMS": {
      keyring: () => new MultiKeyring({ generator: raw, children: [strict()] }),
      survives: "reading",
    },
    caching: { keyring: caching, survives: "none" },
  };
});
afterAll(async () => {
  await kms[Symbol.asyncDispose]();
  console.log(["fault x keyring: writing / reading", ...table].join("\n"));
});

/** The code of the error, which must be typed and tell nothing of any key. */
async function outcome(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "works";
  } catch (caught) {
    const { name, code } = caught as { name: string; code: string };
    expect(name).toBe("FramesealError");
    const said = inspect(caught, { depth: 20, showHidden: true }) + JSON.stringify(caught);
    for (const key of kms.dataKeys)
      for (const form of ["base64", "hex", "base64url", "latin1"] as const)
        expect(said).not.toContain(key.toString(form));
    return code;
  }
}

describe.each(Object.entries(faults))("%s", (name, fault) => {
  test("every keyring", { timeout: 60_000 }, async () => {
    const cells: string[] = [];
    for (const [label, { keyring, survives }] of Object.entries(keyrings)) {
      kms.fault = () => undefined;
      const message = await encrypt(plaintext, { keyring: keyring() });
      const fresh = keyring();
      kms.fault = () => fault;
      const writing = await outcome(encrypt(plaintext, { keyring: fresh }));
      const reading = await outcome(decrypt(message, { keyring: fresh }));
      kms.fault = () => undefined;
      cells.push(`${label}: ${writing} / ${reading}`);
      // A data key of another keyring is only wrapped by KMS: its answer holds none.
      const unharmed = label === "a raw key and KMS" && name.endsWith("data key");
      if (unharmed) expect(writing, label).toBe("works");
      else expect(writing, label).toMatch(/^(KEY_SERVICE|NO_DATA_KEY)$/);
      if (survives === "reading") expect(reading, label).toBe("works");
      else expect(reading, label).toMatch(/^(KEY_SERVICE|NO_DATA_KEY)$/);
      // A failure is not remembered.
      const again = await encrypt(plaintext, { keyring: fresh });
      expect(plaintext.equals((await decrypt(again, { keyring: fresh })).plaintext), label).toBe(true);
    }
    table.push(`${name.padEnd(18)} ${cells.join("; ")}`);
  });
});
