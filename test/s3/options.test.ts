// Every option of "frameseal/s3" has an effect, and every wrong value is refused: a table with a row for every field of
// every public options type. The fields come from the types themselves, so an option without a row fails here.
import { createCipheriv, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CreateBucketCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/engine.ts";
import { type Engine, encrypt, MultiKeyring, RawAesKeyring } from "../../src/index.ts";
import {
  decryptObject,
  deriveSseCKey,
  type EncryptS3ClientOptions,
  encryptObject,
  encryptS3Client,
  explainPolicy,
  exportMultipartUpload,
  getDefaultEncryption,
  type ObjectOptions,
  type RewrapOptions,
  requireEncryptionPolicy,
  rewrapObject,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sseC,
  sseKms,
  sseS3,
  withSseCKey,
} from "../../src/s3.ts";
import { nonFramedMessage, sealGcm } from "../support/non-framed.ts";
import { publicParameters } from "../support/public-options.ts";
import { outcomeOf, readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";
import { describeTaker, type Taker } from "../support/wrong-options.ts";

const MiB = 2 ** 20;
const Bucket = "bucket";
const Key = "object";
const location = { bucket: Bucket, key: Key };
const plaintext = randomBytes(10_000);
const wrappingKey = randomBytes(32);
const aes = (keyName: string, secret: Uint8Array): RawAesKeyring =>
  new RawAesKeyring({ keyNamespace: "n", keyName, wrappingKey: secret });
const keyring = aes("k", wrappingKey);
const other = aes("other", randomBytes(32));

let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
});
beforeEach(async () => {
  server.buckets.clear();
  await plain.send(new CreateBucketCommand({ Bucket }));
  server.calls.length = 0;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** An object as it stands in a bucket. */
interface Stored {
  readonly body: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
  readonly instructionFile: { readonly key: string; readonly body: Buffer } | undefined;
}
type Options = Omit<ObjectOptions, "signal">;

/** One of the ways into the package that take the options of formats. */
interface Entry {
  seal(options: Options): Promise<Stored>;
  /** @param Range where the way in can read one */
  open(stored: Stored, options: Options, Range?: string): Promise<Buffer>;
}

function store({ body, metadata, instructionFile }: Stored): void {
  const objects = server.buckets.get(Bucket);
  const common = { atRest: { algorithm: "AES256" }, checksum: undefined, modified: new Date() } as const;
  const headers = Object.fromEntries(
    Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
  );
  objects?.set(Key, { ...common, body, headers, eTag: '"1"' });
  if (instructionFile !== undefined)
    objects?.set(instructionFile.key, { ...common, body: instructionFile.body, headers: {}, eTag: '"2"' });
}
function stored(): Stored {
  const { body, headers } = server.object(Bucket, Key);
  const metadata = Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith("x-amz-meta-"))
      .map(([name, value]) => [name.slice("x-amz-meta-".length), value]),
  );
  const [key, file] = [...(server.buckets.get(Bucket) ?? [])].find(([name]) => name !== Key) ?? [];
  const instructionFile = key === undefined || file === undefined ? undefined : { key, body: file.body };
  return { body, metadata, instructionFile };
}

const client: Entry = {
  async seal(options) {
    server.buckets.get(Bucket)?.clear();
    await encryptS3Client(plain, options).send(new PutObjectCommand({ Bucket, Key, Body: plaintext }));
    return stored();
  },
  open(object, options, Range) {
    store(object);
    return readObject(encryptS3Client(plain, options), { Bucket, Key, Range });
  },
};
const alone: Entry = {
  async seal(options) {
    const { body, metadata, instructionFile: file } = await encryptObject(location, plaintext, options);
    const instructionFile = file === undefined ? undefined : { key: file.key, body: Buffer.from(file.body) };
    return { body: Buffer.from(body), metadata, instructionFile };
  },
  async open({ body, metadata, instructionFile }, options) {
    const object = { body, metadata, instructionFile: instructionFile?.body };
    return Buffer.from((await decryptObject(location, object, options)).body);
  },
};
/** Opens with the options, and seals what is opened with them under another key. */
const rewrapping: Entry = {
  async seal({ keyring: to, format, ...options }) {
    server.buckets.get(Bucket)?.clear();
    const { encryptionContext, commitmentPolicy, instructionFiles, instructionFileSuffix } = options;
    const as = { format, encryptionContext, commitmentPolicy, instructionFiles, instructionFileSuffix };
    store(await alone.seal({ ...as, keyring: other }));
    await rewrapObject(plain, location, { ...options, from: other, to });
    return stored();
  },
  async open(object, { keyring: from, format: _, ...options }) {
    store(object);
    await rewrapObject(plain, location, { ...options, from, to: other });
    return plaintext;
  },
};

const opens = async (entry: Entry, object: Stored, options: Options, Range?: string): Promise<string> =>
  outcomeOf(
    entry.open(object, options, Range).then((bytes) => {
      const expected = Range === undefined ? plaintext : plaintext.subarray(10, 21);
      expect(bytes.equals(expected)).toBe(true);
    }),
  );
const base: Options = { keyring };

const weak = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT" } as const;
const single = { keyring, format: "s3ec-v3" } as const;

/** An object as old clients wrote it, with the wrap and the content that need a flag each. */
function legacyObject(content: "gcm" | "cbc", wrap: "AESWrap" | "AES/GCM"): Stored {
  const dataKey = randomBytes(32);
  const iv = randomBytes(content === "gcm" ? 12 : 16);
  const cek = content === "gcm" ? "AES/GCM/NoPadding" : "AES/CBC/PKCS5Padding";
  const seal = (): Buffer => {
    if (content === "cbc") {
      const cipher = createCipheriv("aes-256-cbc", dataKey, iv);
      return Buffer.concat([cipher.update(plaintext), cipher.final()]);
    }
    return sealGcm(dataKey, iv, Buffer.alloc(0), plaintext);
  };
  const wrapNonce = randomBytes(12);
  const wrapped =
    wrap === "AES/GCM"
      ? Buffer.concat([wrapNonce, sealGcm(wrappingKey, wrapNonce, Buffer.from(cek), dataKey)])
      : createCipheriv("id-aes256-wrap", wrappingKey, Buffer.alloc(8, 0xa6)).update(dataKey);
  return {
    body: seal(),
    metadata: {
      "x-amz-key-v2": wrapped.toString("base64"),
      "x-amz-iv": iv.toString("base64"),
      "x-amz-cek-alg": cek,
      "x-amz-wrap-alg": wrap,
      "x-amz-matdesc": "{}",
      ...(content === "gcm" ? { "x-amz-tag-len": "128" } : {}),
      "x-amz-unencrypted-content-length": String(plaintext.length),
    },
    instructionFile: undefined,
  };
}
/** A message without frames, as other writers make them. */
async function nonFramedObject(): Promise<Stored> {
  const body = await nonFramedMessage(keyring, plaintext, { "frameseal-key": Key });
  return { body, metadata: {}, instructionFile: undefined };
}

/** What shows that an option arrived; `skipped` says why a way in need not show it. */
interface Effect {
  readonly show: (entry: Entry) => Promise<void>;
  readonly skipped?: Partial<Record<string, string>>;
}
/** What a rewrap is not asked: it refuses these names. */
const SAME_FORMAT = "a rewrap keeps the format";
const NO_PLAINTEXT = "a rewrap hands out no plaintext";
const UNPROVEN = "such objects are never rewrapped";

/** The options that all ways in share. */
const formatEffects: Readonly<Record<string, Effect>> = {
  keyring: {
    show: async (entry) => {
      const object = await entry.seal(base);
      expect(await opens(entry, object, base)).toBe("accepted");
      expect(await opens(entry, object, { keyring: other })).toBe("NO_DATA_KEY");
    },
  },
  encryptionContext: {
    show: async (entry) => {
      const object = await entry.seal({ ...base, encryptionContext: { tenant: "canary" } });
      expect(await opens(entry, object, { ...base, encryptionContext: { tenant: "canary" } })).toBe(
        "accepted",
      );
      expect(await opens(entry, object, { ...base, encryptionContext: { tenant: "x" } })).toBe(
        "CONTEXT_MISMATCH",
      );
    },
  },
  requiredEncryptionContextKeys: {
    show: async (entry) => {
      const encryptionContext = { tenant: "canary" };
      const required = { ...base, encryptionContext, requiredEncryptionContextKeys: ["tenant"] };
      const object = await entry.seal(required);
      expect(object.body.includes("canary")).toBe(false);
      expect(await opens(entry, object, { ...base, encryptionContext })).toBe("accepted");
      expect(await opens(entry, object, base)).not.toBe("accepted");
    },
  },
  suite: {
    show: async (entry) => {
      const { body } = await entry.seal({ ...base, ...weak, suite: 0x0146 });
      expect(body.readUInt16BE(2)).toBe(0x0146);
    },
  },
  frameLength: {
    show: async (entry) => {
      const short = await entry.seal({ ...base, frameLength: 1024 });
      const long = await entry.seal({ ...base, frameLength: 4096 });
      expect(short.body.length).toBeGreaterThan(long.body.length);
    },
  },
  commitmentPolicy: {
    show: async (entry) => {
      const object = await entry.seal({ ...base, ...weak });
      expect(await opens(entry, object, base)).toBe("POLICY");
      expect(await opens(entry, object, { ...base, ...weak })).toBe("accepted");
    },
  },
  engine: {
    show: async (entry) => {
      let keys = 0;
      const engine: Engine = {
        ...nodeEngine,
        createKey: (key) => {
          keys += 1;
          return nodeEngine.createKey(key);
        },
      };
      encryptS3Client(plain, { ...base, engine }); // checks the engine
      keys = 0;
      const object = await entry.seal({ ...base, engine });
      expect(keys).toBeGreaterThan(0);
      keys = 0;
      expect(await opens(entry, object, { ...base, engine })).toBe("accepted");
      expect(keys).toBeGreaterThan(0);
    },
  },
  maxEncryptedDataKeys: {
    show: async (entry) => {
      const two = { keyring: new MultiKeyring({ generator: keyring, children: [other] }) };
      expect(await outcomeOf(entry.seal({ ...two, maxEncryptedDataKeys: 1 }))).toBe("LIMIT_EXCEEDED");
      const object = await entry.seal(two);
      expect(await opens(entry, object, { ...base, maxEncryptedDataKeys: 1 })).toBe("LIMIT_EXCEEDED");
    },
  },
  maxFrameLength: {
    show: async (entry) => {
      const options = { ...base, frameLength: 4096 };
      expect(await outcomeOf(entry.seal({ ...options, maxFrameLength: 1024 }))).not.toBe("accepted");
      const object = await entry.seal(options);
      expect(await opens(entry, object, { ...base, maxFrameLength: 1024 })).toBe("LIMIT_EXCEEDED");
    },
  },
  maxHeaderLength: {
    show: async (entry) =>
      expect(await opens(entry, await entry.seal(base), { ...base, maxHeaderLength: 10 })).toBe(
        "LIMIT_EXCEEDED",
      ),
  },
  maxNonFramedLength: {
    show: async (entry) => {
      const object = await nonFramedObject();
      expect(await opens(entry, object, base)).toBe("accepted");
      expect(await opens(entry, object, { ...base, maxNonFramedLength: 9999 })).toBe("LIMIT_EXCEEDED");
    },
  },
  signedMessages: {
    show: async (entry) => {
      const context = { "frameseal-key": Key };
      const signed = await encrypt(plaintext, { keyring, suite: 0x0578, encryptionContext: context });
      const object = { body: Buffer.from(signed), metadata: {}, instructionFile: undefined };
      expect(await opens(entry, object, base)).toBe("accepted");
      expect(await opens(entry, object, { ...base, signedMessages: "refuse" })).toBe("POLICY");
    },
  },
  bind: {
    show: async (entry) => {
      const object = await entry.seal({ ...base, bind: "none" });
      expect(await opens(entry, object, { ...base, bind: "none" })).toBe("accepted");
      expect(await opens(entry, object, base)).toBe("CONTEXT_MISMATCH");
    },
  },
  authentication: {
    show: async (entry) => {
      const object = await entry.seal(single);
      expect(await opens(entry, object, { ...single, authentication: "buffered", bufferSize: 10 })).toBe(
        "LIMIT_EXCEEDED",
      );
      expect(await opens(entry, object, { ...single, authentication: "delayed", bufferSize: 10 })).toBe(
        "accepted",
      );
    },
    skipped: { rewrapping: NO_PLAINTEXT },
  },
  bufferSize: {
    show: async (entry) => {
      const object = await entry.seal(single);
      const buffered = { ...single, authentication: "buffered" } as const;
      expect(await opens(entry, object, buffered)).toBe("accepted");
      expect(await opens(entry, object, { ...buffered, bufferSize: 9999 })).toBe("LIMIT_EXCEEDED");
    },
    skipped: { rewrapping: NO_PLAINTEXT },
  },
  enableLegacyWrappingAlgorithms: {
    show: async (entry) => {
      const object = legacyObject("gcm", "AESWrap");
      expect(await opens(entry, object, { ...base, ...weak })).toBe("POLICY");
      const enabled = { ...base, ...weak, enableLegacyWrappingAlgorithms: true };
      expect(await opens(entry, object, enabled)).toBe("accepted");
    },
  },
  enableLegacyUnauthenticatedModes: {
    show: async (entry) => {
      const object = legacyObject("cbc", "AESWrap");
      const wrap = { ...base, ...weak, enableLegacyWrappingAlgorithms: true };
      expect(await opens(entry, object, wrap)).toBe("POLICY");
      expect(await opens(entry, object, { ...wrap, enableLegacyUnauthenticatedModes: true })).toBe(
        "accepted",
      );
    },
    skipped: { rewrapping: UNPROVEN },
  },
  instructionFiles: {
    show: async (entry) => {
      const object = await entry.seal({ ...single, instructionFiles: "write" });
      expect(object.instructionFile?.key).toBe(`${Key}.instruction`);
      expect(await opens(entry, object, base)).toBe("accepted");
      expect(await opens(entry, object, { ...base, instructionFiles: "ignore" })).not.toBe("accepted");
    },
  },
  instructionFileSuffix: {
    show: async (entry) => {
      const own = { instructionFileSuffix: ".own" };
      const object = await entry.seal({ ...single, instructionFiles: "write", ...own });
      expect(object.instructionFile?.key).toBe(`${Key}.own`);
      expect(await opens(entry, object, { ...base, ...own })).toBe("accepted");
      if (entry !== alone) expect(await opens(entry, object, base)).not.toBe("accepted");
    },
  },
  format: {
    show: async (entry) => expect((await entry.seal(single)).metadata["x-amz-c"]).toBe("115"),
    skipped: { rewrapping: SAME_FORMAT },
  },
};

/** Sends a body as one put, and gives what the server saw. */
async function sent(
  options: Partial<EncryptS3ClientOptions>,
  Body: Buffer | Readable = plaintext,
): Promise<typeof server.calls> {
  server.calls.length = 0;
  await encryptS3Client(plain, { keyring, ...options }).send(new PutObjectCommand({ Bucket, Key, Body }));
  return [...server.calls];
}
const partsOf = (calls: typeof server.calls) => calls.filter(({ query }) => query.has("partNumber"));
const long = Buffer.alloc(21 * MiB);
const unknownLength = (): Readable =>
  Readable.from([long.subarray(0, 7 * MiB), long.subarray(7 * MiB, 14 * MiB), long.subarray(14 * MiB)]);

type Reading = Pick<EncryptS3ClientOptions, "readRetries" | "readTimeout">;

/** What says how `read` goes on when a body of the object `Key` breaks off. */
const readingEffects = (read: (options: Reading) => Promise<unknown>) => {
  /** What becomes of it when the first body is cut, or falls silent. */
  const outcome = async (kind: "cut" | "stall-body", options: Reading): Promise<string> => {
    await sent({});
    let number = 0;
    server.fault = ({ method, query }) =>
      method === "GET" && !query.has("tagging") && ++number === 1 ? { kind, at: 10 } : undefined;
    try {
      return await outcomeOf(read(options));
    } finally {
      server.fault = () => undefined;
    }
  };
  return {
    readRetries: async () => {
      expect(await outcome("cut", { readRetries: 0 })).toBe("NETWORK");
      expect(await outcome("cut", { readRetries: 1 })).toBe("accepted");
    },
    // A minute, which it is by default, would be longer than a test may take.
    readTimeout: async () => expect(await outcome("stall-body", { readTimeout: 200 })).toBe("accepted"),
  };
};

const clientEffects: Readonly<Record<string, () => Promise<void>>> = {
  ...readingEffects((options) =>
    readObject(encryptS3Client(plain, { keyring, ...options }), { Bucket, Key }),
  ),
  partSize: async () => {
    expect(partsOf(await sent({ partSize: 5 * MiB }, unknownLength()))).toHaveLength(5);
    expect(partsOf(await sent({ partSize: 8 * MiB }, unknownLength()))).toHaveLength(3);
  },
  uploadConcurrency: async () => {
    for (const uploadConcurrency of [1, 3]) {
      let [now, most] = [0, 0];
      server.delay = async ({ query }) => {
        if (!query.has("partNumber")) return;
        most = Math.max(most, ++now);
        // Where more than one may be on its way, the first one waits for the second.
        const isEnough = (): boolean => uploadConcurrency === 1 || most > 1;
        do await new Promise((resolve) => setTimeout(resolve, 100));
        while (!isEnough());
        now -= 1;
      };
      await sent({ partSize: 5 * MiB, uploadConcurrency }, unknownLength());
      server.delay = async () => {};
      if (uploadConcurrency === 1) expect(most).toBe(1);
      else expect(most).toBeGreaterThan(1);
    }
  },
  memory: async () => {
    // Parts of 5 MiB: one is filled, and two more fit into 16 MiB.
    for (const memory of [16 * MiB, 64 * MiB]) {
      let [now, most] = [0, 0];
      server.delay = async ({ query }) => {
        if (!query.has("partNumber")) return;
        most = Math.max(most, ++now);
        // Where more than two may be on their way, the first ones wait for the third.
        const isEnough = (): boolean => memory === 16 * MiB || most > 2;
        do await new Promise((resolve) => setTimeout(resolve, 100));
        while (!isEnough());
        now -= 1;
      };
      await sent({ partSize: 5 * MiB, uploadConcurrency: 4, memory }, unknownLength());
      server.delay = async () => {};
      if (memory === 16 * MiB) expect(most).toBeLessThanOrEqual(2);
      else expect(most).toBeGreaterThan(2);
    }
  },
  expectedSize: async () => {
    const sizes = { partSize: 5 * MiB, expectedSize: 9000 * 8 * MiB };
    expect(partsOf(await sent(sizes, unknownLength()))).toHaveLength(3);
  },
  spoolFolder: async () => {
    const sizes = { partSize: 20 * MiB, memory: 16 * MiB };
    expect(await outcomeOf(sent({ ...sizes, spoolFolder: "/none/of/these" }, unknownLength()))).toBe(
      "LIMIT_EXCEEDED",
    );
  },
  serverSideEncryption: async () => {
    const [call] = await sent({ serverSideEncryption: sseS3() });
    expect(call?.headers["x-amz-server-side-encryption"]).toBe("AES256");
  },
  unsignedPayload: async () => {
    expect(await outcomeOf(sent({ unsignedPayload: "https-only" }))).toBe("POLICY");
    const secure = encryptS3Client(server.secureClient(), { keyring, unsignedPayload: "https-only" });
    await secure.send(new PutObjectCommand({ Bucket, Key, Body: plaintext }));
    expect(server.calls.at(-1)?.headers["x-amz-content-sha256"]).toBe("UNSIGNED-PAYLOAD");
  },
  multipartStates: async () => {
    const { CreateMultipartUploadCommand } = await import("@aws-sdk/client-s3");
    const states = new Map<string, never>();
    const multipartStates = {
      load: async (id: string) => states.get(id),
      compareAndSwap: async (id: string, state: unknown) => {
        states.set(id, state as never);
        return true;
      },
      remove: async (id: string) => void states.delete(id),
    };
    const encrypting = encryptS3Client(plain, { keyring, multipartStates });
    const { UploadId = "" } = await encrypting.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    expect(states.has(UploadId)).toBe(true);
    expect(await outcomeOf(exportMultipartUpload(encrypting, UploadId))).toBe("accepted");
  },
  boundCopy: async () => {
    const { CopyObjectCommand } = await import("@aws-sdk/client-s3");
    await sent({});
    const copy = new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/${Key}` });
    expect(await outcomeOf(encryptS3Client(plain, { keyring }).send(copy))).toBe("POLICY");
    const copying = encryptS3Client(plain, { keyring, boundCopy: "reencrypt" });
    await copying.send(copy);
    expect((await readObject(copying, { Bucket, Key: "copy" })).equals(plaintext)).toBe(true);
  },

  listSizes: async () => {
    await sent({});
    for (const listSizes of ["arithmetic", "head", "stored"] as const) {
      server.calls.length = 0;
      const list = new ListObjectsV2Command({ Bucket });
      const { Contents = [] } = await encryptS3Client(plain, { keyring, listSizes }).send(list);
      const { length } = listSizes === "stored" ? server.object(Bucket, Key).body : plaintext;
      expect(Contents[0]?.Size, listSizes).toBe(length);
    }
  },
};

const rewrap = (options: Partial<RewrapOptions>) =>
  rewrapObject(plain, location, { from: keyring, to: other, ...options });
const putSingle = async (options: Partial<ObjectOptions> = {}): Promise<void> =>
  store(await alone.seal({ ...single, ...options }));
const rewrapEffects: Readonly<Record<string, () => Promise<void>>> = {
  ...readingEffects((options) => rewrap(options)),
  from: async () => {
    await putSingle();
    expect(await outcomeOf(rewrap({ from: other }))).not.toBe("accepted");
    expect(await outcomeOf(rewrap({ from: keyring }))).toBe("accepted");
  },
  to: async () => {
    await putSingle();
    await rewrap({ to: other });
    expect(await opens(client, stored(), { keyring: other })).toBe("accepted");
  },
  newEncryptionContext: async () => {
    store(await alone.seal({ ...base, encryptionContext: { a: "old" } }));
    await rewrap({ newEncryptionContext: { a: "new" } });
    const asked = { keyring: other, encryptionContext: { a: "new" } };
    expect(await opens(client, stored(), asked)).toBe("accepted");
  },
  versionId: async () => {
    await putSingle();
    await rewrap({ versionId: "some-version" });
    const asked = server.calls.filter(
      ({ query, headers }) =>
        query.get("versionId") === "some-version" ||
        String(headers["x-amz-copy-source"]).endsWith("?versionId=some-version"),
    );
    expect(asked.map(({ method }) => method)).toEqual(expect.arrayContaining(["HEAD", "PUT"]));
  },
  enforceRotation: async () => {
    await putSingle();
    expect(await outcomeOf(rewrap({ to: keyring, enforceRotation: true }))).toBe("POLICY");
    expect(await outcomeOf(rewrap({ to: keyring }))).toBe("accepted");
  },
  newInstructionFileSuffix: async () => {
    await putSingle({ instructionFiles: "write" });
    const { instructionFileKey } = await rewrap({ newInstructionFileSuffix: ".partner" });
    expect(instructionFileKey).toBe(`${Key}.partner`);
  },
  signal: async () => {
    await putSingle();
    expect(await outcomeOf(rewrap({ signal: AbortSignal.abort() }))).not.toBe("accepted");
  },
};

const objectEffects: Readonly<Record<string, () => Promise<void>>> = {
  contentEncoding: async () => {
    const { metadata } = await encryptObject(location, plaintext, { keyring, contentEncoding: "gzip" });
    expect(Object.values(metadata)).toContain("gzip");
  },
  signal: async () => {
    const options = { keyring, signal: AbortSignal.abort() };
    expect(await outcomeOf(encryptObject(location, plaintext, options))).toBe("ABORTED");
    const { body, metadata } = await alone.seal(base);
    expect(await outcomeOf(decryptObject(location, { body, metadata }, options))).toBe("ABORTED");
  },
};

/** The headers of a put that asks for a server-side encryption. */
async function headersOf(serverSide: Parameters<typeof serverSideEncryptS3Client>[1]) {
  server.kmsKeys.set("key-of-mine", "enabled");
  server.calls.length = 0;
  await serverSideEncryptS3Client(plain, serverSide).send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
  return server.calls[0]?.headers ?? {};
}
const SSE = "x-amz-server-side-encryption";
const kmsEffects: Readonly<Record<string, () => Promise<void>>> = {
  keyId: async () =>
    expect((await headersOf(sseKms({ keyId: "key-of-mine" })))[`${SSE}-aws-kms-key-id`]).toBe("key-of-mine"),
  encryptionContext: async () =>
    expect((await headersOf(sseKms({ encryptionContext: { a: "b" } })))[`${SSE}-context`]).toBe(
      Buffer.from('{"a":"b"}').toString("base64"),
    ),
  bucketKey: async () =>
    expect((await headersOf(sseKms({ bucketKey: "enabled" })))[`${SSE}-bucket-key-enabled`]).toBe("true"),
  layers: async () => {
    expect((await headersOf(sseKms({ layers: "double" })))[SSE]).toBe("aws:kms:dsse");
    expect((await headersOf(sseKms({ layers: "single" })))[SSE]).toBe("aws:kms");
  },
};

const defaultEffects: Readonly<Record<string, () => Promise<void>>> = {
  encryption: async () => {
    await setDefaultEncryption(plain, Bucket, { encryption: sseKms({ keyId: "key-of-mine" }) });
    expect(await getDefaultEncryption(plain, Bucket)).toMatchObject({ kmsKeyId: "key-of-mine" });
  },
  customerKeys: async () => {
    for (const [customerKeys, told] of [
      ["allow", "allowed"],
      ["block", "blocked"],
    ] as const) {
      await setDefaultEncryption(plain, Bucket, { encryption: sseS3(), customerKeys });
      expect(await getDefaultEncryption(plain, Bucket)).toMatchObject({ customerKeys: told });
    }
  },
};

const policy = { bucket: Bucket, require: "SSE-KMS" } as const;
const policyText = (options: object): string =>
  JSON.stringify(requireEncryptionPolicy({ ...policy, ...options }));
const policyEffects: Readonly<Record<string, () => Promise<void>>> = {
  bucket: async () => expect(policyText({ bucket: "another" })).toContain("arn:aws:s3:::another/*"),
  require: async () => expect(policyText({ require: "SSE-S3" })).not.toBe(policyText({})),
  kmsKeyId: async () => {
    const kmsKeyId = "arn:aws:kms:us-east-1:111122223333:key/mine";
    expect(policyText({ kmsKeyId })).toContain(kmsKeyId);
  },
  customerKeys: async () =>
    expect(policyText({ customerKeys: "forbid" })).not.toBe(policyText({ customerKeys: "allow" })),
  plainHttp: async () =>
    expect(policyText({ plainHttp: "allow" })).not.toBe(policyText({ plainHttp: "deny" })),
  partition: async () => expect(policyText({ partition: "aws-cn" })).toContain("arn:aws-cn:"),
};

const explainEffects: Readonly<Record<string, () => Promise<void>>> = {
  bucket: async () => {
    const made = requireEncryptionPolicy(policy);
    expect(explainPolicy(made).demandsEncryption).toBe(true);
    expect(explainPolicy(made, { bucket: "another" }).demandsEncryption).toBe(false);
  },
};

const derivation = { masterKey: wrappingKey, masterKeyVersion: 1, bucket: Bucket, key: Key };
const derived = (options: object): string => deriveSseCKey({ ...derivation, ...options }).SSECustomerKeyMD5;
const changesKey = (options: object) => async (): Promise<void> =>
  expect(derived(options)).not.toBe(derived({}));
const keyEffects: Readonly<Record<string, () => Promise<void>>> = {
  masterKey: changesKey({ masterKey: randomBytes(32) }),
  masterKeyVersion: changesKey({ masterKeyVersion: 2 }),
  bucket: changesKey({ bucket: "b" }),
  key: changesKey({ key: "k" }),
  salt: changesKey({ salt: randomBytes(4) }),
};
const masterKeys = [{ masterKey: wrappingKey, masterKeyVersion: 1 }];
const trial = { masterKeys, bucket: Bucket, key: Key };
const tried = (options: object): Promise<string> =>
  withSseCKey({ ...trial, ...options }, async ({ SSECustomerKeyMD5 }) => SSECustomerKeyMD5);
const changesTrial = (options: object) => async (): Promise<void> =>
  expect(await tried(options)).not.toBe(await tried({}));
const trialEffects: Readonly<Record<string, () => Promise<void>>> = {
  masterKeys: changesTrial({ masterKeys: [{ masterKey: randomBytes(32), masterKeyVersion: 1 }] }),
  bucket: changesTrial({ bucket: "b" }),
  key: changesTrial({ key: "k" }),
  salt: changesTrial({ salt: randomBytes(4) }),
};

/** The effects of the options of formats, seen through one way in. */
function throughEntry(name: string, entry: Entry): Record<string, () => Promise<void>> {
  return Object.fromEntries(
    Object.entries(formatEffects)
      .filter(([, { skipped }]) => skipped?.[name] === undefined)
      .map(([option, { show }]) => [option, () => show(entry)]),
  );
}
const rewrapOf = (options: object): Promise<unknown> => rewrap(options);
const types: Readonly<Record<string, Taker>> = {
  EncryptS3ClientOptions: {
    effects: { ...throughEntry("client", client), ...clientEffects },
    call: (options) => void encryptS3Client(plain, { keyring, ...options }),
    bare: (options) => encryptS3Client(plain, options),
    refuses: "throws",
    needed: ["keyring"],
  },
  RewrapOptions: {
    effects: rewrapOptionEffects(),
    call: async (options) => {
      await putSingle();
      return rewrapOf(options);
    },
    bare: (options) => rewrapObject(plain, location, options),
    refuses: "rejects",
    needed: ["from", "to"],
  },
  ObjectOptions: {
    effects: { ...throughEntry("alone", alone), ...objectEffects },
    call: async (options) => void (await encryptObject(location, plaintext, { keyring, ...options })),
    bare: (options) => encryptObject(location, plaintext, options),
    refuses: "rejects",
    needed: ["keyring"],
  },
  SseKmsOptions: {
    effects: kmsEffects,
    call: (options) => sseKms(options),
    bare: (options) => sseKms(options),
    refuses: "throws",
  },
  DefaultEncryptionOptions: {
    effects: defaultEffects,
    call: (options) => setDefaultEncryption(plain, Bucket, { encryption: sseS3(), ...options }),
    bare: (options) => setDefaultEncryption(plain, Bucket, options),
    refuses: "rejects",
    needed: ["encryption"],
  },
  EncryptionPolicyOptions: {
    effects: policyEffects,
    call: (options) => requireEncryptionPolicy({ ...policy, ...options }),
    bare: (options) => requireEncryptionPolicy(options),
    refuses: "throws",
    needed: ["bucket", "require"],
  },
  ExplainPolicyOptions: {
    effects: explainEffects,
    call: (options) => explainPolicy(requireEncryptionPolicy(policy), options),
    bare: (options) => explainPolicy(requireEncryptionPolicy(policy), options as object),
    refuses: "throws",
  },
  SseCKeyOptions: {
    effects: keyEffects,
    call: (options) => deriveSseCKey({ ...derivation, ...options }),
    bare: (options) => deriveSseCKey(options),
    refuses: "throws",
    needed: ["masterKey", "masterKeyVersion", "bucket", "key"],
  },
  SseCTrialOptions: {
    effects: trialEffects,
    call: (options) => withSseCKey({ ...trial, ...options }, async () => {}),
    bare: (options) => withSseCKey(options, async () => {}),
    refuses: "rejects",
    needed: ["masterKeys", "bucket", "key"],
  },
};
/** Those of formats and its own; what opens and what wraps stand for the keyring. */
function rewrapOptionEffects(): Taker["effects"] {
  const { keyring: _, ...shared } = throughEntry("rewrapping", rewrapping);
  return { ...shared, ...rewrapEffects };
}

/** The names of every type of options that a public function takes. */
const parameters = publicParameters("s3");
const fields = new Map(
  parameters.filter(({ type }) => type.endsWith("Options")).map(({ type, names }) => [type, names]),
);

describe("the table of options", () => {
  test("has a row for every field of every public options type", () => {
    expect([...fields.keys()].sort()).toEqual(Object.keys(types).sort());
    for (const [type, names] of fields) {
      const rows = Object.keys(types[type]?.effects ?? {});
      expect(rows.sort(), type).toEqual([...names].sort());
      expect(names.length, type).toBeGreaterThan(0);
    }
  });
});

test.each(
  Object.keys(formatEffects).filter((name) => formatEffects[name]?.skipped?.rewrapping !== undefined),
)("a rewrap refuses %s, which would change nothing", async (name) => {
  await expect(rewrap({ [name]: true })).rejects.toThrow(`expected only known names, got ${name}`);
});

test("a rewrap of what nothing authenticates is refused, whatever is enabled", async () => {
  store(legacyObject("cbc", "AESWrap"));
  const failed = rewrap({ ...weak, enableLegacyWrappingAlgorithms: true });
  await expect(failed).rejects.toThrow(/nothing authenticates this object \(AES\/CBC\): encrypt it again/);
});

for (const [type, taker] of Object.entries(types)) describeTaker(type, fields.get(type) ?? [], taker);

describe("arguments that are no options", () => {
  const given: Readonly<Record<string, (value: never) => unknown>> = {
    "encryptObject at a location": (place) => encryptObject(place, plaintext, { keyring }),
    "decryptObject at a location": (place) =>
      decryptObject(place, { body: plaintext, metadata: {} }, { keyring }),
    "rewrapObject at a location": (place) => rewrapObject(plain, place, { from: keyring, to: other }),
    "decryptObject of an object": (object) => decryptObject(location, object, { keyring }),
    serverSideEncryptS3Client: (serverSide) => serverSideEncryptS3Client(plain, serverSide),
  };
  const values = { null: null, "a word": "keyring", "a number": 5, "a map": new Map(), "an array": [] };
  test.each(Object.keys(given))("are refused by %s", async (name) => {
    for (const [what, value] of Object.entries(values)) {
      const call = async (): Promise<unknown> => given[name]?.(value as never);
      await expect(call(), what).rejects.toThrow(TypeError);
    }
  });
});

describe("hints", () => {
  const made = (options: object) => () => encryptS3Client(plain, { keyring, ...options });
  test("say what to write instead", () => {
    expect(made({ encryptionContext: new Map([["tenant", "a"]]) })).toThrow(
      '"encryptionContext" expected a plain object of strings, got a Map: give Object.fromEntries(map)',
    );
    expect(made({ encryptionContext: [["tenant", "a"]] })).toThrow(": give a plain object");
    expect(made({ frameLenght: 1 })).toThrow("got frameLenght: did you mean frameLength?");
    expect(made({ partsize: 1 })).toThrow("did you mean partSize?");
  });
  test("and never what could be a key", () => {
    const secret = randomBytes(32).toString("base64");
    for (const name of ["bind", "engine", "keyring", "instructionFiles", "partSize", "serverSideEncryption"])
      expect(made({ [name]: secret }), name).toThrow(
        expect.not.objectContaining({ message: expect.stringContaining(secret) }),
      );
  });
  test("an encryption context may come from another realm, or have no prototype", async () => {
    const { runInNewContext } = await import("node:vm");
    for (const encryptionContext of [
      runInNewContext("({ a: 'b' })"),
      Object.assign(Object.create(null), { a: "b" }),
    ])
      expect(made({ encryptionContext })).not.toThrow();
  });
});

describe("metadata of a fetched object", () => {
  const fetched = (metadata: unknown) =>
    decryptObject(location, { body: plaintext, metadata: metadata as never }, { keyring });
  test.each([
    ["a map", new Map([["frameseal-format", "framed"]])],
    ["headers", new Headers({ a: "b" })],
    ["an array", ["x"]],
    ["null", null],
    ["numbers", { a: 1 }],
  ])("is refused as %s", async (_, metadata) => {
    await expect(fetched(metadata)).rejects.toThrow(/^"metadata" expected/);
  });
});

describe("a server-side encryption", () => {
  const asked = (serverSide: unknown) => () => serverSideEncryptS3Client(plain, serverSide as never);
  test.each([
    ["another mode", { mode: "SSE" }],
    ["a name of its own", { mode: "SSE-S3", keyId: "x" }],
    ["a key that is no function", { mode: "SSE-C", keyFor: new Uint8Array(32) }],
    ["a context that is a map", { mode: "SSE-KMS", encryptionContext: new Map() }],
    ["a number as bucket key", { mode: "SSE-KMS", bucketKey: 1 }],
    ["its name", "SSE-S3"],
  ])("is refused with %s", (_, serverSide) => expect(asked(serverSide)).toThrow(TypeError));
  test("is taken as it is made", () => {
    for (const made of [sseS3(), sseKms(), sseKms({ layers: "double" }), sseC(randomBytes(32))])
      expect(asked(made)).not.toThrow();
  });
});
