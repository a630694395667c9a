// The scenarios of the cross-language tests of the S3 Encryption Clients, by the names of their classes, through the
// same HTTP interface; and the tampering lists of the clients' own tests.
import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import { EncryptCommand } from "@aws-sdk/client-kms";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeKms } from "../support/fake-kms.ts";
import { S3Server } from "../support/s3-server.ts";
import { S3ecTestServer } from "./s3ec-server.ts";

const bucket = "test-bucket";
const V2 = "ALG_AES_256_GCM_IV12_TAG16_NO_KDF";
const V3 = "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY";
const [FORBID, ALLOW, REQUIRE] = [
  "FORBID_ENCRYPT_ALLOW_DECRYPT",
  "REQUIRE_ENCRYPT_ALLOW_DECRYPT",
  "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
] as const;
const META = "x-amz-meta-";

let s3: S3Server;
let kms: FakeKms;
let server: S3ecTestServer;
let base: string;
let kmsKeyId: string;
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const rsaKey = privateKey.export({ type: "pkcs8", format: "der" }).toString("base64");
const aes = randomBytes(32);
const aesKey = aes.toString("base64");
let scenarios = 0;

beforeAll(async () => {
  s3 = await S3Server.start();
  kms = await FakeKms.start();
  await s3.client().send(new CreateBucketCommand({ Bucket: bucket }));
  kmsKeyId = kms.createKey();
  server = new S3ecTestServer(s3.client(), kms.client());
  base = await server.listen();
});
afterAll(async () => {
  await server.close();
  await kms[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
  console.log(`cross-language scenarios: ${scenarios} checks`);
});

interface Reply {
  readonly status: number;
  readonly body: Buffer;
  readonly message: string;
  readonly type: string;
}
async function call(
  method: string,
  path: string,
  headers: Record<string, string>,
  body?: Buffer | string,
): Promise<Reply> {
  scenarios += 1;
  const response = await fetch(base + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: body as never }),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const error =
    response.status === 200 ? {} : (JSON.parse(bytes.toString()) as { message?: string; __type?: string });
  return { status: response.status, body: bytes, message: error.message ?? "", type: error.__type ?? "" };
}
const create = (config: object): Promise<Reply> => call("POST", "/client", {}, JSON.stringify({ config }));
async function client(config: object): Promise<string> {
  const reply = await create(config);
  expect(reply.message).toBe("");
  return (JSON.parse(reply.body.toString()) as { clientId: string }).clientId;
}
const told = (context: Record<string, string> | undefined): Record<string, string> =>
  context === undefined
    ? {}
    : {
        "content-metadata": Object.entries(context)
          .map(([k, v]) => `[${k}]:[${v}]`)
          .join(","),
      };
const path = (key: string): string => `/object/${bucket}/${encodeURIComponent(key)}`;
const put = (id: string, key: string, body: Buffer | string, context?: Record<string, string>) =>
  call("PUT", path(key), { clientid: id, ...told(context) }, body);
const get = (id: string, key: string, more: Record<string, string> = {}, context?: Record<string, string>) =>
  call("GET", path(key), { clientid: id, ...told(context), ...more });
/** An error that a client of this kind is expected to give. */
function expectRefused(reply: Reply, message = ""): void {
  expect(reply.status).toBe(500);
  expect(reply.type).toBe("software.amazon.encryption.s3#S3EncryptionClientError");
  expect(reply.message).toContain(message);
}

const keyMaterials = (): [string, object][] => [
  ["KMS", { kmsKeyId }],
  ["AES", { aesKey }],
  ["RSA", { rsaKey }],
];
const suites = [
  [V2, FORBID],
  [V3, ALLOW],
  [V3, REQUIRE],
] as const;

/** Stores an object as old clients did. */
async function putLegacy(
  key: string,
  body: Buffer,
  wrap: "AES" | "RSA" | "kms" | "AESWrap",
  content: "cbc" | "gcm",
  v1 = false,
): Promise<void> {
  const dataKey = randomBytes(32);
  const iv = randomBytes(content === "cbc" ? 16 : 12);
  const ecb = createCipheriv("aes-256-ecb", aes, null);
  const aesWrap = createCipheriv("id-aes256-wrap", aes, Buffer.alloc(8, 0xa6));
  const edk = Buffer.from(
    wrap === "AES"
      ? Buffer.concat([ecb.update(dataKey), ecb.final()])
      : wrap === "AESWrap"
        ? Buffer.concat([aesWrap.update(dataKey), aesWrap.final()])
        : wrap === "RSA"
          ? publicEncrypt({ key: createPublicKey(privateKey), padding: constants.RSA_PKCS1_PADDING }, dataKey)
          : ((
              await kms.client().send(
                new EncryptCommand({
                  KeyId: kmsKeyId,
                  Plaintext: dataKey,
                  EncryptionContext: { kms_cmk_id: kmsKeyId },
                }),
              )
            ).CiphertextBlob ?? []),
  );
  const cipher = createCipheriv(content === "cbc" ? "aes-256-cbc" : "aes-256-gcm", dataKey, iv);
  const sealed = Buffer.concat([cipher.update(body), cipher.final()]);
  const tag =
    content === "gcm" ? (cipher as unknown as { getAuthTag(): Buffer }).getAuthTag() : Buffer.alloc(0);
  const entries: Record<string, string> = {
    [v1 ? "x-amz-key" : "x-amz-key-v2"]: edk.toString("base64"),
    "x-amz-iv": iv.toString("base64"),
    "x-amz-matdesc": wrap === "kms" ? JSON.stringify({ kms_cmk_id: kmsKeyId }) : "{}",
    "x-amz-unencrypted-content-length": String(body.length),
    ...(v1
      ? {}
      : {
          "x-amz-wrap-alg": wrap,
          "x-amz-cek-alg": content === "cbc" ? "AES/CBC/PKCS5Padding" : "AES/GCM/NoPadding",
        }),
  };
  store(key, Buffer.concat([sealed, tag]), entries);
}
function store(key: string, body: Buffer, entries: Record<string, string>): void {
  const headers = Object.fromEntries(Object.entries(entries).map(([name, value]) => [META + name, value]));
  const eTag = `"${createHash("md5").update(body).digest("hex")}"`;
  s3.buckets.get(bucket)?.set(key, {
    body,
    headers,
    eTag,
    atRest: { algorithm: "AES256" },
    checksum: undefined,
    modified: new Date(),
  });
}
function entriesOf(key: string): Record<string, string> {
  const entries = Object.entries(s3.object(bucket, key).headers).filter(([name]) => name.startsWith(META));
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(META.length), value]));
}

describe("RoundTripTests, GCMTestSuite, KC_GCMTestSuite", () => {
  test("what is written is read, by key, suite and policy", async () => {
    for (const [name, keyMaterial] of keyMaterials())
      for (const [encryptionAlgorithm, commitmentPolicy] of suites) {
        const id = await client({ keyMaterial, encryptionAlgorithm, commitmentPolicy });
        const key = `round/${name}/${encryptionAlgorithm}/${commitmentPolicy}`;
        const context = name === "KMS" ? { user: "a", purpose: "test" } : undefined;
        expect((await put(id, key, "simple", context)).status).toBe(200);
        for (const policy of [FORBID, ALLOW, REQUIRE]) {
          const reader = await client({
            keyMaterial,
            commitmentPolicy: policy,
            encryptionAlgorithm: policy === FORBID ? V2 : V3,
          });
          const reply = await get(reader, key, {}, context);
          if (policy === REQUIRE && encryptionAlgorithm === V2) expectRefused(reply);
          else expect(reply.body.toString()).toBe("simple");
        }
        if (context === undefined) continue;
        const text = "Provided encryption context does not match information retrieved from S3";
        expectRefused(await get(id, key, {}, { user: "a" }), text);
        expectRefused(await get(id, key, {}, { ...context, more: "x" }), text);
        expectRefused(await get(id, key), text);
        expectRefused(await put(id, `${key}/reserved`, "x", { "aws:x-amz-cek-alg": "115" }));
      }
  });
});

test("ExhaustiveRoundTripTests1_25", async () => {
  for (const [name, keyMaterial] of keyMaterials())
    for (const [encryptionAlgorithm, commitmentPolicy] of suites.slice(0, 2)) {
      const id = await client({ keyMaterial, encryptionAlgorithm, commitmentPolicy });
      for (let length = 0; length <= 25; length++) {
        const body = randomBytes(length);
        await put(id, `short/${name}`, body);
        expect((await get(id, `short/${name}`)).body.equals(body)).toBe(true);
      }
    }
});

test("CBCDecryptTests and RsaV1LegacyDecryptTests", async () => {
  for (const [wrap, keyMaterial, content, v1] of [
    ["AES", { aesKey }, "cbc", true],
    ["RSA", { rsaKey }, "cbc", true],
    ["kms", { kmsKeyId }, "cbc", false],
    ["RSA", { rsaKey }, "gcm", false],
    ["AESWrap", { aesKey }, "gcm", false],
    ["kms", { kmsKeyId }, "gcm", false], // as SES writes mail
  ] as const)
    for (const length of [0, 1, 15, 16, 17, 1000]) {
      const key = `cbc/${wrap}/${content}/${length}`;
      const body = randomBytes(length);
      await putLegacy(key, body, wrap, content, v1);
      for (const policy of [FORBID, ALLOW, REQUIRE])
        for (const wraps of [false, true])
          for (const modes of [false, true]) {
            const id = await client({
              keyMaterial,
              commitmentPolicy: policy,
              enableLegacyWrappingAlgorithms: wraps,
              enableLegacyUnauthenticatedModes: modes,
            });
            const reply = await get(id, key);
            if (policy !== REQUIRE && wraps && (modes || content === "gcm"))
              expect(reply.body.equals(body)).toBe(true);
            else expectRefused(reply);
            if (policy !== REQUIRE && !wraps && modes)
              expectRefused(
                reply,
                `Enable legacy wrapping algorithms to use legacy key wrapping algorithm: ${wrap}`,
              );
          }
    }
});

test("KeyCommitmentPolicyEncryptFailureTests", async () => {
  const keyMaterial = { aesKey };
  for (const [encryptionAlgorithm, commitmentPolicy] of [
    [V3, FORBID],
    [V2, ALLOW],
    [V2, REQUIRE],
    [V2, undefined],
    ["ALG_AES_256_CBC_IV16_NO_KDF", ALLOW],
    ["ALG_AES_256_CTR_IV16_TAG16_NO_KDF", ALLOW],
  ])
    expectRefused(await create({ keyMaterial, encryptionAlgorithm, commitmentPolicy }));
  expectRefused(await create({ keyMaterial, enableDelayedAuthenticationMode: true, setBufferSize: 100 }));
});

test("a buffer that is too small, and delayed authentication", async () => {
  const keyMaterial = { aesKey };
  const id = await client({ keyMaterial });
  await put(id, "large", randomBytes(5000));
  expectRefused(await get(await client({ keyMaterial, setBufferSize: 4999 }), "large"));
  const delayed = await client({ keyMaterial, enableDelayedAuthenticationMode: true });
  expect((await get(delayed, "large")).body.length).toBe(5000);
});

test("InstructionFileFailures", async () => {
  const files = { enableInstructionFilePutObject: true };
  for (const [name, keyMaterial] of keyMaterials().slice(1)) {
    const id = await client({ keyMaterial, instructionFileConfig: files });
    const key = `instruction/${name}`;
    const file = `${key}.instruction`;
    const restore = async (): Promise<Record<string, string>> => {
      await put(id, key, "text");
      expect((await get(id, key)).body.toString()).toBe("text");
      return JSON.parse(s3.object(bucket, file).body.toString()) as Record<string, string>;
    };
    const write = (entries: unknown): void => {
      s3.object(bucket, file).body = Buffer.from(
        typeof entries === "string" ? entries : JSON.stringify(entries),
      );
    };
    const right = await restore();
    const { "x-amz-c": c = "", "x-amz-d": d = "", "x-amz-i": i = "" } = entriesOf(key);
    for (const wrong of [
      { ...right, "x-amz-c": c },
      { ...right, "x-amz-d": d },
      { ...right, "x-amz-i": i },
      { ...right, "x-amz-key-v2": right["x-amz-3"] },
      { ...right, "x-amz-3": [right["x-amz-3"]] },
      { ...right, unknown: "x" },
      Object.fromEntries(Object.entries(right).map(([n, value]) => [n.replace("x-amz-", "x-amz-x-"), value])),
      [right],
      {},
      "",
      "{",
      "null",
    ]) {
      await restore();
      write(wrong);
      expectRefused(await get(id, key));
    }
    for (const missing of ["x-amz-c", "x-amz-d", "x-amz-i"]) {
      const moved = await restore();
      const entries = entriesOf(key);
      const { [missing]: value = "", ...rest } = entries;
      store(key, s3.object(bucket, key).body, rest);
      expectRefused(await get(id, key));
      write({ ...moved, [missing]: value });
      expectRefused(await get(id, key));
    }
    await restore();
    s3.buckets.get(bucket)?.delete(file);
    expectRefused(await get(id, key));
    await restore();
    const ignoring = await client({ keyMaterial, instructionFileConfig: { disableInstructionFile: true } });
    expectRefused(await get(ignoring, key));
  }
});

test("RangedGetTests", async () => {
  const body = randomBytes(1000);
  for (const [suite, policy] of suites.slice(0, 2)) {
    const common = { keyMaterial: { aesKey }, encryptionAlgorithm: suite, commitmentPolicy: policy };
    const id = await client({ ...common, enableLegacyUnauthenticatedModes: true });
    await put(id, "range", body);
    expectRefused(await get(await client(common), "range", { range: "bytes=0-9" }));
    for (const [first, last] of [
      [0, 9],
      [0, 0],
      [5, 20],
      [16, 31],
      [990, 999],
      [0, 999],
      [999, 999],
      [990, 1007],
      [990, 5000],
    ] as const) {
      const reply = await get(id, "range", { range: `bytes=${first}-${last}` });
      expect(reply.body.equals(body.subarray(first, last + 1))).toBe(true);
    }
    expect((await get(id, "range", { range: "bytes=-10" })).body.equals(body.subarray(990))).toBe(true);
    // Into the tag, and past the end.
    for (const range of ["bytes=1000-1015", "bytes=1005-1010", "bytes=2000-2010"])
      expectRefused(await get(id, "range", { range }));
  }
  const id = await client({ keyMaterial: { aesKey }, enableLegacyUnauthenticatedModes: true });
  await put(id, "range", body);
  const right = entriesOf("range");
  for (const name of ["x-amz-c", "x-amz-d", "x-amz-i"])
    for (const value of [
      undefined,
      "",
      "AAAA",
      randomBytes(28).toString("base64"),
      randomBytes(27).toString("base64"),
      randomBytes(32).toString("base64"),
    ]) {
      const { [name]: _, ...rest } = right;
      store("range", s3.object(bucket, "range").body, {
        ...rest,
        ...(value === undefined ? {} : { [name]: value }),
      });
      expectRefused(await get(id, "range", { range: "bytes=0-9" }));
      expectRefused(await get(id, "range"));
    }
  await putLegacy("range-cbc", body, "AES", "cbc", true);
  const legacy = await client({
    keyMaterial: { aesKey },
    commitmentPolicy: ALLOW,
    enableLegacyUnauthenticatedModes: true,
    enableLegacyWrappingAlgorithms: true,
  });
  for (const [first, last] of [
    [0, 9],
    [15, 16],
    [16, 40],
    [990, 999],
    [3, 2000],
  ] as const) {
    const reply = await get(legacy, "range-cbc", { range: `bytes=${first}-${last}` });
    expect(reply.body.equals(body.subarray(first, last + 1))).toBe(true);
  }
});

test("ReEncryptTests", async () => {
  const materials = [
    { aesKey, materialsDescription: { n: "1" } },
    { aesKey: randomBytes(32).toString("base64"), materialsDescription: { n: "2" } },
    { rsaKey, materialsDescription: { n: "3" } },
  ];
  const files = { enableInstructionFilePutObject: true };
  for (const from of materials)
    for (const to of materials)
      for (const suffix of [undefined, ".other"]) {
        const id = await client({ keyMaterial: from, instructionFileConfig: files });
        await put(id, "re", "text");
        const headers = {
          clientid: id,
          enforcerotation: "true",
          ...(suffix === undefined ? {} : { instructionfilesuffix: suffix }),
        };
        const reply = await call("POST", `${path("re")}/reencrypt`, headers, JSON.stringify(to));
        if (from === to) {
          expectRefused(reply);
          continue;
        }
        expect(reply.status).toBe(200);
        const reader = await client({ keyMaterial: to });
        const named = suffix === undefined ? {} : { instructionfilesuffix: suffix };
        expect((await get(reader, "re", named)).body.toString()).toBe("text");
        expectRefused(await get(id, "re", named));
        if (suffix !== undefined) expect((await get(id, "re")).body.toString()).toBe("text");
      }
});

test("BleichenbacherOracleTests", async () => {
  const keyMaterial = { rsaKey };
  const gates = { enableLegacyWrappingAlgorithms: true, enableLegacyUnauthenticatedModes: true };
  const id = await client({ keyMaterial, commitmentPolicy: ALLOW, ...gates });
  const size = 256;
  const raw = (padded: Buffer): string =>
    publicEncrypt({ key: createPublicKey(privateKey), padding: constants.RSA_NO_PADDING }, padded).toString(
      "base64",
    );
  const filled = (length: number): Buffer => Buffer.alloc(length, 0xff);
  const key = randomBytes(32);
  const paddings: Readonly<Record<string, Buffer>> = {
    "right, of another key": Buffer.concat([Buffer.of(0, 2), filled(size - 35), Buffer.of(0), key]),
    "first byte": Buffer.concat([Buffer.of(1, 2), filled(size - 35), Buffer.of(0), key]),
    "second byte": Buffer.concat([Buffer.of(0, 1), filled(size - 35), Buffer.of(0), key]),
    "no separator": Buffer.concat([Buffer.of(0, 2), filled(size - 34), key]),
    "early separator": Buffer.concat([
      Buffer.of(0, 2),
      filled(20),
      Buffer.of(0),
      filled(size - 56),
      Buffer.of(0),
      key,
    ]),
    "a short key": Buffer.concat([Buffer.of(0, 2), filled(size - 19), Buffer.of(0), key.subarray(0, 16)]),
    zeros: Buffer.alloc(size),
  };
  for (const content of ["gcm", "cbc"] as const) {
    await putLegacy("oracle", Buffer.from("text"), "RSA", content);
    expect((await get(id, "oracle")).body.toString()).toBe("text");
    const { body } = s3.object(bucket, "oracle");
    const entries = entriesOf("oracle");
    const replies = new Set<string>();
    for (const padded of Object.values(paddings)) {
      store("oracle", body, { ...entries, "x-amz-key-v2": raw(padded) });
      const reply = await get(id, "oracle");
      // Of CBC a wrong key gives garbage once in 256 times: nobody can tell that from a padding.
      if (content === "gcm" || reply.status === 500)
        replies.add(`${reply.status} ${reply.type} ${reply.message}`);
    }
    store("oracle", body, { ...entries, "x-amz-key-v2": randomBytes(256).fill(0, 0, 1).toString("base64") });
    const random = await get(id, "oracle");
    if (random.status === 500) replies.add(`${random.status} ${random.type} ${random.message}`);
    expect([...replies]).toEqual([
      "500 software.amazon.encryption.s3#S3EncryptionClientError message is not authentic",
    ]);
  }
});

test("V3HeaderSpoofingTests and test_i_security", async () => {
  const keyMaterial = { kmsKeyId };
  const context = { user: "a" };
  const writer = await client({ keyMaterial, encryptionAlgorithm: V2, commitmentPolicy: FORBID });
  const readers = [
    await client({ keyMaterial, commitmentPolicy: REQUIRE }),
    await client({
      keyMaterial,
      commitmentPolicy: ALLOW,
      enableLegacyWrappingAlgorithms: true,
      enableLegacyUnauthenticatedModes: true,
    }),
  ];
  await put(writer, "spoof", "text", context);
  const { body } = s3.object(bucket, "spoof");
  const v2 = entriesOf("spoof");
  const id = Buffer.alloc(28, 1).toString("base64");
  for (const added of [
    { "x-amz-c": "115" },
    { "x-amz-w": "12" },
    { "x-amz-c": "115", "x-amz-w": "12" },
    { "x-amz-c": "115", "x-amz-w": "12", "x-amz-3": v2["x-amz-key-v2"] ?? "" },
    {
      "x-amz-c": "115",
      "x-amz-w": "12",
      "x-amz-3": v2["x-amz-key-v2"] ?? "",
      "x-amz-d": id,
      "x-amz-i": id,
      "x-amz-t": v2["x-amz-matdesc"] ?? "",
    },
  ]) {
    store("spoof", body, { ...v2, ...added });
    for (const reader of readers) expectRefused(await get(reader, "spoof", {}, context));
  }
  // The same as version 3 alone: KMS has bound another algorithm, and so does the context.
  const forged = {
    "x-amz-c": "115",
    "x-amz-w": "12",
    "x-amz-3": v2["x-amz-key-v2"] ?? "",
    "x-amz-d": id,
    "x-amz-i": id,
  };
  for (const t of [v2["x-amz-matdesc"] ?? "", '{"user":"a","aws:x-amz-cek-alg":"115"}', '{"user":"a"}']) {
    store("spoof", body, { ...forged, "x-amz-t": t });
    for (const reader of readers) expectRefused(await get(reader, "spoof", {}, context));
  }
  // kms+context read as kms, which binds no algorithm.
  store("spoof", body, {
    ...v2,
    "x-amz-wrap-alg": "kms",
    "x-amz-cek-alg": "AES/CBC/PKCS5Padding",
    "x-amz-iv": randomBytes(16).toString("base64"),
  });
  for (const reader of readers) expectRefused(await get(reader, "spoof", {}, context));
  // A version 3 object turned into version 2.
  const third = await client({ keyMaterial });
  await put(third, "spoof3", "text", context);
  const v3 = entriesOf("spoof3");
  store("spoof3", s3.object(bucket, "spoof3").body, {
    "x-amz-key-v2": v3["x-amz-3"] ?? "",
    "x-amz-iv": Buffer.alloc(12, 1).toString("base64"),
    "x-amz-cek-alg": "AES/GCM/NoPadding",
    "x-amz-wrap-alg": "kms+context",
    "x-amz-matdesc": v3["x-amz-t"] ?? "",
    "x-amz-tag-len": "128",
  });
  for (const reader of readers) expectRefused(await get(reader, "spoof3", {}, context));
});

test("ParameterMalleabilityTest: every change of one entry is refused", async () => {
  for (const [name, keyMaterial] of keyMaterials())
    for (const [suite, policy] of suites.slice(0, 2)) {
      const id = await client({ keyMaterial, encryptionAlgorithm: suite, commitmentPolicy: policy });
      const key = `malleable/${name}`;
      await put(id, key, "text");
      const { body } = s3.object(bucket, key);
      const right = entriesOf(key);
      for (const [entry, value] of Object.entries(right)) {
        // A description of a raw key only chooses the key.
        if ((entry === "x-amz-matdesc" || entry === "x-amz-m") && name !== "KMS") continue;
        const others = [`${value}A`, value.slice(1), value.split("").reverse().join(""), "x"];
        if (/^[A-Za-z0-9+/]{12,}=*$/.test(value)) {
          const bytes = Buffer.from(value, "base64");
          for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 8)) {
            const changed = Buffer.from(bytes);
            changed[at] = (changed[at] ?? 0) ^ 1;
            others.push(changed.toString("base64"));
          }
        }
        for (const other of others) {
          if (other === value) continue;
          store(key, body, { ...right, [entry]: other });
          expectRefused(await get(id, key));
        }
        if (entry !== "x-amz-tag-len" && entry !== "x-amz-m" && entry !== "x-amz-matdesc") {
          const { [entry]: _, ...rest } = right;
          store(key, body, rest);
          expectRefused(await get(id, key));
        }
      }
      for (const changed of [
        body.subarray(1),
        body.subarray(0, -1),
        Buffer.concat([body, Buffer.of(0)]),
        Buffer.alloc(0),
        body.subarray(0, 15),
      ]) {
        store(key, changed, right);
        expectRefused(await get(id, key));
      }
    }
});
