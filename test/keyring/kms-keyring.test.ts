import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EncryptedDataKey } from "../../src/format/encrypted-data-key.ts";
import { suiteById } from "../../src/format/suite.ts";
import { decrypt, encrypt } from "../../src/index.ts";
import type { DataKeyRequest } from "../../src/keyring/keyring.ts";
import { kmsAccessOf } from "../../src/keyring/kms-access.ts";
import { areRelatedKeys, type KmsArn, parseKmsArn } from "../../src/keyring/kms-arn.ts";
import { KmsKeyring, type KmsKeyringOptions } from "../../src/kms.ts";
import { ACCOUNT, FakeKms } from "../support/fake-kms.ts";

let kms: FakeKms;
beforeEach(async () => {
  kms = await FakeKms.start();
});
afterEach(() => kms[Symbol.asyncDispose]());

const plaintext = randomBytes(1000);
const encryptionContext = { purpose: "backup", größe: "ß" };
const request: DataKeyRequest = {
  suite: suiteById(0x0478),
  commitmentPolicy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
  encryptionContext,
};

describe("a strict KMS keyring", () => {
  test("asks for a data key when writing, sends the blob when reading, and the context with both", async () => {
    const generatorKeyId = kms.createKey();
    const keyring = new KmsKeyring({ client: kms.client(), generatorKeyId, grantTokens: ["token"] });
    const sealed = await encrypt(plaintext, { keyring, encryptionContext });
    const { plaintext: opened, header } = await decrypt(sealed, { keyring });
    expect(plaintext.equals(opened)).toBe(true);
    expect(header.encryptedDataKeys).toHaveLength(1);
    expect(header.encryptedDataKeys[0]?.providerId).toBe("aws-kms");
    expect(Buffer.from(header.encryptedDataKeys[0]?.providerInfo ?? []).toString()).toBe(generatorKeyId);
    expect(kms.calls).toEqual([
      {
        operation: "GenerateDataKey",
        region: "eu-west-1",
        keyId: generatorKeyId,
        context: encryptionContext,
        grantTokens: ["token"],
      },
      {
        operation: "Decrypt",
        region: "eu-west-1",
        keyId: generatorKeyId,
        context: encryptionContext,
        grantTokens: ["token"],
      },
    ]);
  });

  test("also sends pairs that the header does not store, and the public key of signing suites", async () => {
    const generatorKeyId = kms.createKey();
    const keyring = new KmsKeyring({ client: kms.client(), generatorKeyId });
    const sealed = await encrypt(plaintext, {
      keyring,
      encryptionContext,
      requiredEncryptionContextKeys: ["purpose"],
      suite: 0x0578,
    });
    await decrypt(sealed, { keyring, encryptionContext });
    await expect(decrypt(sealed, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    for (const { context } of kms.calls.slice(0, 2))
      expect(Object.keys(context).sort()).toEqual(["aws-crypto-public-key", "größe", "purpose"]);
  });

  test("wraps under every key, and any of them opens", async () => {
    const [generatorKeyId = "", ...keyIds] = [kms.createKey(), kms.createKey(), kms.createKey()];
    const writer = new KmsKeyring({ client: kms.client(), generatorKeyId, keyIds });
    const sealed = await encrypt(plaintext, { keyring: writer, encryptionContext });
    expect(kms.count("GenerateDataKey")).toBe(1);
    expect(kms.count("Encrypt")).toBe(2);
    for (const keyId of [generatorKeyId, ...keyIds]) {
      const { header } = await decrypt(sealed, {
        keyring: new KmsKeyring({ client: kms.client(), keyIds: [keyId] }),
      });
      expect(header.encryptedDataKeys).toHaveLength(3);
    }
    kms.setState(generatorKeyId, "Disabled");
    expect(plaintext.equals((await decrypt(sealed, { keyring: writer })).plaintext)).toBe(true);
  });

  test("never asks for a key that it was not told, whatever the message says", async () => {
    const generatorKeyId = kms.createKey();
    const sealed = await encrypt(plaintext, {
      keyring: new KmsKeyring({ client: kms.client(), generatorKeyId }),
    });
    const other = new KmsKeyring({ client: kms.client(), keyIds: [kms.createKey()] });
    await expect(decrypt(sealed, { keyring: other })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    expect(kms.count("Decrypt")).toBe(0);
  });

  test("with an alias, an alias ARN or a bare id encrypts but does not decrypt", async () => {
    const keyArn = kms.createKey();
    const aliasArn = kms.createAlias("backup/daily", keyArn);
    const client = kms.client();
    for (const generatorKeyId of ["alias/backup/daily", aliasArn, keyArn.split("/")[1] ?? ""]) {
      const keyring = new KmsKeyring({ client, generatorKeyId });
      const sealed = await encrypt(plaintext, { keyring });
      await expect(decrypt(sealed, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
      const reader = new KmsKeyring({ client, keyIds: [keyArn] });
      expect(plaintext.equals((await decrypt(sealed, { keyring: reader })).plaintext)).toBe(true);
    }
  });

  test("opens with a replica of a multi-region key only when told so", async () => {
    const generatorKeyId = kms.createKey("us-east-1", "eu-west-1");
    const replica = generatorKeyId.replace("us-east-1", "eu-west-1");
    const writer = new KmsKeyring({ client: kms.client("us-east-1"), generatorKeyId });
    const sealed = await encrypt(plaintext, { keyring: writer });
    const client = kms.client("eu-west-1");
    const exact = new KmsKeyring({ client, keyIds: [replica] });
    await expect(decrypt(sealed, { keyring: exact })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    const related = new KmsKeyring({ client, keyIds: [replica], multiRegionKeys: "related" });
    await decrypt(sealed, { keyring: related });
    expect(kms.calls.at(-1)).toMatchObject({ region: "eu-west-1", keyId: replica });
  });

  test("asks each key in its own region when given a client for each", async () => {
    const [generatorKeyId, keyId] = [kms.createKey("us-east-1"), kms.createKey("eu-west-1")];
    const asked: string[] = [];
    const client = (region: string) => {
      asked.push(region);
      return kms.client(region);
    };
    const keyring = new KmsKeyring({ client, generatorKeyId, keyIds: [keyId] });
    const sealed = await encrypt(plaintext, { keyring });
    await encrypt(plaintext, { keyring });
    kms.setState(generatorKeyId, "Disabled");
    await decrypt(sealed, { keyring });
    expect(asked).toEqual(["us-east-1", "eu-west-1"]);
  });

  test("without generator opens and wraps, but makes no data key", async () => {
    const keyring = new KmsKeyring({ client: kms.client(), keyIds: [kms.createKey()] });
    await expect(encrypt(plaintext, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    expect(await keyring.wrapDataKey(randomBytes(32), request)).toHaveLength(1);
    expect(kms.count("GenerateDataKey")).toBe(0);
  });

  test("is not the keyring of entries with another provider or a broken ARN", async () => {
    const keyArn = kms.createKey();
    const keyring = new KmsKeyring({ client: kms.client(), generatorKeyId: keyArn });
    const [entry] = (await keyring.generateDataKey(request)).encryptedDataKeys;
    if (entry === undefined) throw new Error("no entry");
    const strange: EncryptedDataKey[] = [
      { ...entry, providerId: "aws-kms-hierarchy" },
      { ...entry, providerInfo: Buffer.from(`${keyArn}/`) },
      { ...entry, providerInfo: Buffer.from(keyArn.toUpperCase()) },
      { ...entry, providerInfo: Buffer.concat([Buffer.from(keyArn), Buffer.of(0xff)]) },
      { ...entry, providerInfo: Buffer.from(keyArn.split("/")[1] ?? "") },
    ];
    for (const edk of strange) expect(await keyring.unwrapDataKey([edk], request)).toBeNull();
    expect(kms.count("Decrypt")).toBe(0);
    expect(await keyring.unwrapDataKey([...strange, entry], request)).toHaveLength(32);
  });

  test("stops when the caller does", async () => {
    const keyring = new KmsKeyring({ client: kms.client(), generatorKeyId: kms.createKey() });
    const stop = new AbortController();
    kms.fault = () => {
      stop.abort(new Error("enough")); // when it has been asked
      return { kind: "silence" };
    };
    const started = encrypt(plaintext, { keyring, signal: stop.signal });
    await expect(started).rejects.toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
    await expect(encrypt(plaintext, { keyring, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
    expect(kms.calls).toHaveLength(1);
  });
});

describe("a discovery KMS keyring", () => {
  test("opens with any key of its accounts, and does nothing else", async () => {
    const client = kms.client();
    const sealed = await encrypt(plaintext, {
      keyring: new KmsKeyring({ client, generatorKeyId: kms.createKey() }),
    });
    const keyring = new KmsKeyring({ client, discovery: { partition: "aws", accountIds: [ACCOUNT] } });
    expect(plaintext.equals((await decrypt(sealed, { keyring })).plaintext)).toBe(true);
    await expect(encrypt(plaintext, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    await expect(keyring.wrapDataKey(randomBytes(32), request)).rejects.toMatchObject({
      code: "NO_DATA_KEY",
    });
  });

  test.each([
    ["account", { partition: "aws", accountIds: ["999999999999"] }],
    ["partition", { partition: "aws-cn", accountIds: [ACCOUNT] }],
  ])("makes no call for a key of another %s", async (_name, discovery) => {
    const client = kms.client();
    const sealed = await encrypt(plaintext, {
      keyring: new KmsKeyring({ client, generatorKeyId: kms.createKey() }),
    });
    const keyring = new KmsKeyring({ client, discovery });
    await expect(decrypt(sealed, { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    expect(kms.count("Decrypt")).toBe(0);
  });

  test("asks its region's replica of a multi-region key, and no single-region key elsewhere", async () => {
    const multi = kms.createKey("us-east-1", "eu-west-1");
    const single = kms.createKey("us-east-1");
    const seal = (generatorKeyId: string) =>
      encrypt(plaintext, { keyring: new KmsKeyring({ client: kms.client("us-east-1"), generatorKeyId }) });
    const discovery = { partition: "aws", accountIds: [ACCOUNT], region: "eu-west-1" };
    const keyring = new KmsKeyring({ client: (region) => kms.client(region), discovery });
    await decrypt(await seal(multi), { keyring });
    expect(kms.calls.at(-1)).toMatchObject({ operation: "Decrypt", region: "eu-west-1" });
    await expect(decrypt(await seal(single), { keyring })).rejects.toMatchObject({ code: "NO_DATA_KEY" });
    expect(kms.count("Decrypt")).toBe(1);
  });

  test("asks no region that the caller has no client for", async () => {
    const sealed = await encrypt(plaintext, {
      keyring: new KmsKeyring({
        client: kms.client("us-east-1"),
        generatorKeyId: kms.createKey("us-east-1"),
      }),
    });
    const client = (region: string) => (region === "eu-west-1" ? kms.client(region) : undefined);
    const keyring = new KmsKeyring({ client, discovery: { partition: "aws", accountIds: [ACCOUNT] } });
    await expect(decrypt(sealed, { keyring })).rejects.toMatchObject({ code: "KEY_SERVICE" });
    expect(kms.count("Decrypt")).toBe(0);
  });
});

describe("keys stored without their ARN (S3 Encryption Client objects)", () => {
  const kmsRequest = { encryptionContext, keyLength: 32 };

  test("are unwrapped by a strict keyring with the ARNs it was told", async () => {
    const [first = "", second = ""] = [kms.createKey(), kms.createKey()];
    const writer = kmsAccessOf(new KmsKeyring({ client: kms.client(), generatorKeyId: second }));
    const reader = kmsAccessOf(new KmsKeyring({ client: kms.client(), keyIds: [first, second] }));
    const made = await writer?.generateDataKey(kmsRequest);
    if (made === undefined) throw new Error("no data key");
    expect(made.keyArn).toBe(second);
    expect(await reader?.decrypt(made.ciphertext, kmsRequest)).toEqual(made.dataKey);
    expect(kms.calls.slice(1).map(({ keyId }) => keyId)).toEqual([first, second]);
    const alias = kms.createAlias("a", first);
    const onlyAlias = kmsAccessOf(new KmsKeyring({ client: kms.client(), generatorKeyId: alias }));
    await expect(onlyAlias?.decrypt(made.ciphertext, kmsRequest)).rejects.toMatchObject({
      code: "NO_DATA_KEY",
    });
  });

  test("are refused by a discovery keyring if KMS used a key outside its filter", async () => {
    const client = kms.client();
    const made = await kmsAccessOf(
      new KmsKeyring({ client, generatorKeyId: kms.createKey() }),
    )?.generateDataKey(kmsRequest);
    if (made === undefined) throw new Error("no data key");
    const inside = new KmsKeyring({
      client,
      discovery: { partition: "aws", accountIds: ["999999999999", ACCOUNT] },
    });
    expect(await kmsAccessOf(inside)?.decrypt(made.ciphertext, kmsRequest)).toEqual(made.dataKey);
    expect(kms.calls.at(-1)?.keyId).toBeUndefined();
    const outside = new KmsKeyring({ client, discovery: { partition: "aws", accountIds: ["999999999999"] } });
    await expect(kmsAccessOf(outside)?.decrypt(made.ciphertext, kmsRequest)).rejects.toMatchObject({
      code: "KEY_SERVICE",
      message:
        "answer of AWS KMS for any key must not be trusted: it used a key that the discovery filter does not allow",
    });
  });
});

describe("options of a KMS keyring", () => {
  const arn = `arn:aws:kms:eu-west-1:${ACCOUNT}:key/00000000-0000-0000-0000-000000000000`;
  const filter = { partition: "aws", accountIds: [ACCOUNT] };
  const refused: readonly (readonly [
    string,
    (options: { client: KmsKeyringOptions["client"] }) => unknown,
    string,
  ])[] = [
    [
      "no key",
      ({ client }) => new KmsKeyring({ client }),
      '"generatorKeyId", "keyIds" or "discovery" expected, got none',
    ],
    [
      "a key twice",
      ({ client }) => new KmsKeyring({ client, generatorKeyId: arn, keyIds: [arn] }),
      '"keyIds" expected each key once',
    ],
    [
      "an ARN of another service",
      ({ client }) => new KmsKeyring({ client, generatorKeyId: arn.replace("kms", "s3") }),
      "expected an ARN, alias or id of a KMS key",
    ],
    [
      "an empty name",
      ({ client }) => new KmsKeyring({ client, generatorKeyId: "" }),
      "expected an ARN, alias or id of a KMS key",
    ],
    [
      "no account",
      ({ client }) => new KmsKeyring({ client, discovery: { ...filter, accountIds: [] } }),
      '"discovery.accountIds" expected at least one',
    ],
    [
      "a short account",
      ({ client }) => new KmsKeyring({ client, discovery: { ...filter, accountIds: ["1"] } }),
      '"discovery.accountIds" expected accounts of 12 digits',
    ],
    [
      "no partition",
      ({ client }) => new KmsKeyring({ client, discovery: { ...filter, partition: "" } }),
      '"discovery.partition" expected',
    ],
    [
      "an alias and a client for each region",
      () => new KmsKeyring({ client: () => undefined, generatorKeyId: "alias/a" }),
      '"keyIds" expected ARNs, since "client" wants a region',
    ],
    [
      "no time",
      ({ client }) => new KmsKeyring({ client, generatorKeyId: arn, timeoutMs: 0 }),
      '"timeoutMs" expected',
    ],
    [
      "discovery beside keys",
      ({ client }) =>
        new KmsKeyring({ client, keyIds: [arn], discovery: filter } as unknown as KmsKeyringOptions),
      '"discovery" expected no "generatorKeyId" or "keyIds"',
    ],
    [
      "no client",
      () => new KmsKeyring({ keyIds: [arn] } as unknown as KmsKeyringOptions),
      '"client" expected a KMSClient',
    ],
  ];
  test.each(refused)("with %s are refused", (_name, make, message) => {
    expect(() => make({ client: kms.client() })).toThrow(message);
  });

  test("do not show grant tokens or credentials", () => {
    const client = kms.client("eu-west-1", {
      credentials: { accessKeyId: "AKID-CANARY", secretAccessKey: "SECRET-CANARY" },
    });
    const keyring = new KmsKeyring({ client, generatorKeyId: arn, grantTokens: ["TOKEN-CANARY"] });
    expect(inspect(keyring, { depth: 20, showHidden: true }) + JSON.stringify(keyring)).not.toContain(
      "CANARY",
    );
  });
});

test("ARNs of KMS keys are read strictly", () => {
  const parse = (text: string): KmsArn => {
    const arn = parseKmsArn(text);
    if (arn === undefined) throw new Error(text);
    return arn;
  };
  const multi = `arn:aws-us-gov:kms:us-gov-west-1:${ACCOUNT}:key/mrk-${"0".repeat(32)}`;
  expect(parse(multi)).toEqual({
    partition: "aws-us-gov",
    region: "us-gov-west-1",
    account: ACCOUNT,
    kind: "key",
    id: `mrk-${"0".repeat(32)}`,
  });
  expect(parse(`arn:aws:kms:eu-west-1:${ACCOUNT}:alias/a/b`)).toMatchObject({ kind: "alias", id: "a/b" });
  for (const text of [
    "",
    "arn:aws:kms:eu-west-1::key/a",
    `arn:aws:kms::${ACCOUNT}:key/a`,
    `arn:aws:kms:eu-west-1:${ACCOUNT}:key/`,
    `arn:aws:kms:evil.example/x:${ACCOUNT}:key/a`,
    `arn:aws:kms:eu-west-1:${ACCOUNT}:key/a\n`,
    ` arn:aws:kms:eu-west-1:${ACCOUNT}:key/a`,
  ])
    expect(parseKmsArn(text)).toBeUndefined();
  expect(areRelatedKeys(parse(multi), parse(multi.replace("gov-west-1", "gov-east-1")))).toBe(true);
  expect(areRelatedKeys(parse(multi), parse(multi.replace(ACCOUNT, "999999999999")))).toBe(false);
  const single = `arn:aws:kms:eu-west-1:${ACCOUNT}:key/0`;
  expect(areRelatedKeys(parse(single), parse(single.replace("eu-west-1", "eu-west-2")))).toBe(false);
  expect(areRelatedKeys(parse(single), parse(single))).toBe(true);
});
