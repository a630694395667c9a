// However an encrypting client is derived, proxied or wrapped, it encrypts, and middleware that was added to it sees every
// request of an operation; whatever takes a client recognises it.
import { randomBytes } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3,
  S3Client,
  UploadPartCommand,
  waitUntilObjectExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import {
  encryptS3Client,
  exportMultipartUpload,
  getDefaultEncryption,
  importMultipartUpload,
  rewrapObject,
  serverSideEncryptS3Client,
  setDefaultEncryption,
  sseC,
  sseKms,
  sseS3,
} from "../../src/s3.ts";
import { outcomeOf, readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 });

const Bucket = "bucket";
const P = 5 * 2 ** 20;
const TEXT = "the text of the caller, which must not be stored as it is";
const long = Buffer.alloc(P + 77, TEXT);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const other = new RawAesKeyring({ keyNamespace: "n", keyName: "other", wrappingKey: randomBytes(32) });
const customerKey = randomBytes(32);

let server: S3Server;
let plain: S3Client;
let https: S3Client;
let leaked = 0;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client();
  https = server.secureClient();
  await plain.send(new CreateBucketCommand({ Bucket }));
  await setDefaultEncryption(plain, Bucket, { encryption: sseS3(), customerKeys: "allow" });
  server.onBody = (_, body) => {
    if (body.includes(TEXT)) leaked++;
  };
});
afterAll(async () => {
  expect(leaked).toBe(0);
  await server[Symbol.asyncDispose]();
});

const wrapped = (client: S3Client): S3Client =>
  ({
    send: (...args: [never]) => client.send(...args),
    config: client.config,
    middlewareStack: client.middlewareStack,
  }) as unknown as S3Client;

/** Ways to make another client from one. */
const derivations: readonly (readonly [string, (client: S3Client) => S3Client])[] = [
  ["itself", (client) => client],
  ["Object.create", (client) => Object.create(client)],
  [
    "Object.create with a stack of its own",
    (client) => Object.create(client, { middlewareStack: { value: client.middlewareStack.clone() } }),
  ],
  ["a Proxy", (client) => new Proxy(client, {})],
  [
    "a Proxy that binds",
    (client) =>
      new Proxy(client, {
        get(target, name) {
          const value = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      }),
  ],
  ["Object.create of a Proxy", (client) => Object.create(new Proxy(client, {}))],
  ["an object that forwards", wrapped],
  ["an object that forwards a Proxy", (client) => wrapped(new Proxy(client, {}))],
  [
    "an object that forwards later",
    (client) =>
      ({
        ...wrapped(client),
        send: async (...args: [never]) => {
          await null;
          return client.send(...args);
        },
      }) as never,
  ],
  ["a bound send", (client) => Object.create(client, { send: { value: client.send.bind(client) } })],
  [
    "a send of a subclass",
    (client) =>
      Object.create(client, {
        send: {
          value(this: S3Client, ...args: [never]) {
            return (client.send as (this: unknown, ...args: unknown[]) => never).apply(this, args);
          },
        },
      }),
  ],
];

/** What an encrypting client must do. */
async function checkEncrypts(client: S3Client, Key: string): Promise<void> {
  for (const Body of [Buffer.from(TEXT), long]) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: { own: "1" } }));
    expect(server.object(Bucket, Key).body.includes(TEXT)).toBe(false);
    const output = await client.send(new GetObjectCommand({ Bucket, Key }));
    expect(Buffer.from((await output.Body?.transformToByteArray()) ?? []).equals(Body)).toBe(true);
    expect((await readObject(client, { Bucket, Key, Range: "bytes=4-6" })).toString()).toBe(TEXT.slice(4, 7));
    expect(await client.send(new HeadObjectCommand({ Bucket, Key }))).toMatchObject({
      ContentLength: Body.length,
      Metadata: { own: "1" },
    });
  }
}

describe.each(derivations)("%s", (name, derive) => {
  test("of an encrypting client encrypts, and is recognised", async () => {
    const client = derive(encryptS3Client(plain, { keyring, partSize: P }));
    await checkEncrypts(client, `derived/${name}`);
    expect(() => encryptS3Client(client, { keyring: other })).toThrow("does not encrypt yet");
    expect(() => encryptS3Client(serverSideEncryptS3Client(client, sseS3()), { keyring: other })).toThrow(
      "does not encrypt yet",
    );
    const rewrapped = rewrapObject(
      client,
      { bucket: Bucket, key: `derived/${name}` },
      { from: keyring, to: other },
    );
    await expect(rewrapped).rejects.toThrow("does not encrypt");
  });

  test("of the plain client can be encrypted", async () => {
    const client = encryptS3Client(derive(server.client()), { keyring, partSize: P });
    await checkEncrypts(client, `inner/${name}`);
    await checkEncrypts(derive(client), `both/${name}`);
  });

  test("is asked for server-side encryption on top, below, and twice", async () => {
    const sse = sseC(customerKey);
    const encrypted = { keyring, partSize: P };
    const clients = [
      serverSideEncryptS3Client(derive(encryptS3Client(https, encrypted)), sse),
      encryptS3Client(derive(serverSideEncryptS3Client(https, sse)), encrypted),
      derive(serverSideEncryptS3Client(encryptS3Client(derive(https), encrypted), sse)),
      serverSideEncryptS3Client(
        derive(serverSideEncryptS3Client(encryptS3Client(https, encrypted), sseC(randomBytes(32)))),
        sse,
      ),
    ];
    // The last one asks for two keys: the outer one counts where the derivation keeps the stack.
    for (const [number, client] of clients.entries()) {
      const Key = `sse/${name}/${number}`;
      await checkEncrypts(client, Key);
      expect(server.object(Bucket, Key).atRest).toMatchObject({ algorithm: "SSE-C" });
    }
  });

  test("gives its middleware to every request of an operation", async () => {
    const base = encryptS3Client(server.client(), { keyring, partSize: P, boundCopy: "reencrypt" });
    const derived = derive(base);
    const seen: string[] = [];
    const note =
      (label: string) =>
      (next: (args: never) => Promise<never>) =>
      async (args: { request: { method: string } }) => {
        seen.push(`${label} ${args.request.method}`);
        return next(args as never);
      };
    for (const [label, client] of [
      ["base", base],
      ["derived", derived],
    ] as const)
      client.middlewareStack.add(note(label) as never, {
        step: "finalizeRequest",
        priority: "low",
        name: `note-${label}`,
      });
    const sent = async (work: () => Promise<unknown>): Promise<[string[], string[]]> => {
      const [before, from] = [server.calls.length, seen.length];
      await work();
      return [server.calls.slice(before).map(({ method }) => method), seen.slice(from)];
    };
    const Key = `middleware/${name}`;
    const operations = [
      () => derived.send(new PutObjectCommand({ Bucket, Key, Body: long })),
      () => readObject(derived, { Bucket, Key, Range: "bytes=5-8" }),
      () =>
        derived.send(
          new CopyObjectCommand({ Bucket, Key: `${Key}/2`, CopySource: encodeURI(`${Bucket}/${Key}`) }),
        ),
      () => derived.send(new DeleteObjectCommand({ Bucket, Key })),
    ];
    for (const operation of operations) {
      const [methods, noted] = await sent(operation);
      expect(methods.length).toBeGreaterThan(0);
      const by = (label: string) =>
        noted.filter((line) => line.startsWith(label)).map((line) => line.slice(label.length + 1));
      const sharesStack = derived.middlewareStack === base.middlewareStack;
      const keepsThis = !/binds|forwards|bound/.test(name);
      if (sharesStack || !keepsThis) expect(by("base").sort()).toEqual([...methods].sort());
      if (sharesStack || keepsThis) expect(by("derived").sort()).toEqual([...methods].sort());
    }
    for (const client of [base, derived]) {
      client.middlewareStack.remove("note-base");
      client.middlewareStack.remove("note-derived");
    }
    seen.length = 0;
    await derived.send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
    expect(seen).toEqual([]);
  });
});

test("side objects, tags and closing parts see the middleware as well", async () => {
  const client = encryptS3Client(server.client(), { keyring, format: "s3ec-v3", instructionFiles: "write" });
  let count = 0;
  client.middlewareStack.add(
    (next) => async (args) => {
      count++;
      return next(args);
    },
    { step: "build", name: "count" },
  );
  const Key = "side/object";
  const before = server.calls.length;
  await client.send(new PutObjectCommand({ Bucket, Key, Body: TEXT }));
  expect((await readObject(client, { Bucket, Key })).toString()).toBe(TEXT);
  await client.send(new DeleteObjectCommand({ Bucket, Key }));
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const { ETag } = await client.send(
    new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: long.subarray(0, P) }),
  );
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
  expect(count).toBe(server.calls.length - before);
  expect(count).toBeGreaterThan(8);
});

describe("uploads that are handed over", () => {
  test.each(derivations.filter(([name]) => !name.includes("forwards")))(
    "by and to %s",
    async (name, derive) => {
      const Key = `handed/${name}`;
      const from = derive(encryptS3Client(plain, { keyring }));
      const { UploadId = "" } = await from.send(new CreateMultipartUploadCommand({ Bucket, Key }));
      const state = await exportMultipartUpload(from, UploadId);
      const to = derive(encryptS3Client(plain, { keyring }));
      await importMultipartUpload(to, state);
      const { ETag } = await to.send(
        new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: TEXT }),
      );
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
      await to.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
      expect((await readObject(to, { Bucket, Key })).toString()).toBe(TEXT);
    },
  );

  test("are refused where the client is not known", async () => {
    for (const client of [plain, wrapped(encryptS3Client(plain, { keyring })), {}, undefined])
      await expect(exportMultipartUpload(client as never, "id")).rejects.toThrow("made by encryptS3Client");
  });
});

test("another copy of the package recognises a client that encrypts", async () => {
  vi.resetModules();
  const copy = await import("../../src/s3.ts");
  expect(copy.encryptS3Client).not.toBe(encryptS3Client);
  const client = encryptS3Client(plain, { keyring });
  expect(() => copy.encryptS3Client(Object.create(client), { keyring })).toThrow("does not encrypt yet");
  await expect(copy.exportMultipartUpload(client, "id")).rejects.toThrow("made by encryptS3Client");
});

test("a derived client asks for the default encryption of buckets like any other", async () => {
  const client = Object.create(encryptS3Client(plain, { keyring }));
  await setDefaultEncryption(client, Bucket, { encryption: sseS3(), customerKeys: "allow" });
  expect(await getDefaultEncryption(client, Bucket)).toMatchObject({
    mode: "SSE-S3",
    customerKeys: "allowed",
  });
});

test("the outer one of two server-side encryptions counts", async () => {
  const Key = "outer";
  server.kmsKeys.set("arn:aws:kms:us-east-1:1:key/1", "enabled");
  const kms = sseKms({ keyId: "arn:aws:kms:us-east-1:1:key/1" });
  for (const [client, algorithm] of [
    [serverSideEncryptS3Client(serverSideEncryptS3Client(plain, kms), sseS3()), "AES256"],
    [serverSideEncryptS3Client(serverSideEncryptS3Client(plain, sseS3()), kms), "aws:kms"],
    [
      serverSideEncryptS3Client(encryptS3Client(plain, { keyring, serverSideEncryption: kms }), sseS3()),
      "AES256",
    ],
    [
      encryptS3Client(serverSideEncryptS3Client(plain, kms), { keyring, serverSideEncryption: sseS3() }),
      "AES256",
    ],
  ] as const) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: "no secret" }));
    expect(server.object(Bucket, Key).atRest).toMatchObject({ algorithm });
  }
});

test("handlers that the SDK keeps are never those of another client or send", async () => {
  const cached = server.client({ cacheMiddleware: true });
  const encrypted = encryptS3Client(cached, { keyring });
  const bound = encryptS3Client(wrapped(cached), { keyring });
  server.kmsKeys.set("arn:aws:kms:us-east-1:1:key/2", "enabled");
  const sse = serverSideEncryptS3Client(cached, sseKms({ keyId: "arn:aws:kms:us-east-1:1:key/2" }));
  const put = (client: S3Client, Body: string, ...rest: object[]) =>
    client.send(new PutObjectCommand({ Bucket, Key: "cached", Body }), ...(rest as []));
  const stored = () => server.object(Bucket, "cached");
  for (let round = 0; round < 3; round++)
    for (const rest of [[], [{}]]) {
      await put(cached, "plain", ...rest);
      expect(stored().body.toString()).toBe("plain");
      for (const client of [encrypted, bound]) {
        await put(client, TEXT, ...rest);
        expect(stored().body.includes(TEXT)).toBe(false);
        expect((await readObject(client, { Bucket, Key: "cached" })).toString()).toBe(TEXT);
      }
      await put(sse, "plain", ...rest);
      expect(stored().atRest.algorithm).toBe("aws:kms");
    }
});

describe("the forms of send", () => {
  test("with a callback, with options, with both", async () => {
    const client = encryptS3Client(plain, { keyring });
    const put = new PutObjectCommand({ Bucket, Key: "callback", Body: TEXT });
    const called = (...rest: unknown[]) =>
      new Promise((resolve) => {
        const returned = (client.send as (...args: unknown[]) => unknown).call(
          client,
          ...rest,
          (error: unknown, output: unknown) => resolve({ error, output }),
        );
        expect(returned).toBeUndefined();
      });
    expect(await called(put)).toMatchObject({ error: null, output: { ETag: expect.any(String) } });
    expect(await called(put, {})).toMatchObject({ error: null, output: { ETag: expect.any(String) } });
    expect(await called(put, { abortSignal: AbortSignal.abort() })).toMatchObject({
      error: { name: expect.any(String) },
    });
    expect(await called(undefined)).toMatchObject({
      error: { message: expect.stringContaining('"command" expected') },
    });
    const bad = new CopyObjectCommand({ Bucket, Key: "x", CopySource: "%" });
    expect(await called(bad)).toMatchObject({ error: expect.any(Error) });
  });

  test("never throw: what is wrong with a request comes through its promise", async () => {
    const clients = [
      encryptS3Client(plain, { keyring }),
      serverSideEncryptS3Client(plain, sseC(customerKey)),
      serverSideEncryptS3Client(
        encryptS3Client(plain, { keyring }),
        sseC(() => {
          throw new Error("no key");
        }),
      ),
    ];
    const commands = [
      undefined,
      null,
      7,
      {},
      new PutObjectCommand({} as never),
      new PutObjectCommand(undefined as never),
      new CopyObjectCommand({ Bucket, Key: "x", CopySource: "nothing" }),
      new CopyObjectCommand({ Bucket, Key: "x", CopySource: "bucket/%zz" }),
      new GetObjectCommand({ Bucket, Key: "x", Range: "bytes=5-1" }),
    ];
    for (const client of clients)
      for (const [index, command] of commands.entries()) {
        const sent = (client.send as (command: unknown) => unknown).call(client, command);
        expect(sent).toBeInstanceOf(Promise);
        expect([index, await outcomeOf(sent as Promise<unknown>)]).not.toEqual([index, "accepted"]);
      }
    const signal = encryptS3Client(plain, { keyring }).send(new GetObjectCommand({ Bucket, Key: "x" }), {
      abortSignal: {} as never,
    });
    await expect(signal).rejects.toThrow('"abortSignal" expected an AbortSignal');
    const relative = encryptS3Client(server.client(), { keyring });
    relative.middlewareStack.addRelativeTo(((next: unknown) => next) as never, {
      relation: "before",
      toMiddleware: "nobody",
      name: "lost",
    });
    await expect(relative.send(new GetObjectCommand({ Bucket, Key: "x" }))).rejects.toThrow(
      "nobody is not found",
    );
  });

  test("taken from the client, and called on something else", async () => {
    const client = encryptS3Client(plain, { keyring });
    const { send } = client;
    const calls: readonly ((command: PutObjectCommand) => unknown)[] = [
      (command) => (send as (this: unknown, command: unknown) => unknown).call(undefined, command),
      (command) => ({ put: send }).put(command as never),
      (command) => (send as (this: unknown, command: unknown) => unknown).call(plain, command),
    ];
    for (const [number, call] of calls.entries()) {
      await call(new PutObjectCommand({ Bucket, Key: `taken/${number}`, Body: TEXT }));
      expect(server.object(Bucket, `taken/${number}`).body.includes(TEXT)).toBe(false);
    }
  });
});

describe("what takes a client", () => {
  test("methods of S3, waiters, paginators, Upload and destroy", async () => {
    const config = {
      endpoint: server.endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: plain.config.credentials,
    };
    const aggregated = Object.create(encryptS3Client(new S3(config), { keyring, partSize: P })) as S3;
    await aggregated.putObject({ Bucket, Key: "s3/1", Body: TEXT });
    const { Body } = await aggregated.getObject({ Bucket, Key: "s3/1" });
    expect(await Body?.transformToString()).toBe(TEXT);
    const waited = await waitUntilObjectExists(
      { client: aggregated, maxWaitTime: 10 },
      { Bucket, Key: "s3/1" },
    );
    expect(waited.state).toBe("SUCCESS");
    await new Upload({ client: aggregated, partSize: P, params: { Bucket, Key: "s3/2", Body: long } }).done();
    expect((await readObject(aggregated, { Bucket, Key: "s3/2" })).equals(long)).toBe(true);
    const keys: unknown[] = [];
    for await (const page of paginateListObjectsV2(
      { client: aggregated, pageSize: 1 },
      { Bucket, Prefix: "s3/" },
    ))
      keys.push(...(page.Contents ?? []).map(({ Key, Size }) => [Key, Size]));
    expect(keys).toEqual([
      ["s3/1", TEXT.length],
      ["s3/2", long.length],
    ]);
    expect(aggregated).toBeInstanceOf(S3);
    expect(aggregated).toBeInstanceOf(S3Client);
    aggregated.destroy();
  });
});
