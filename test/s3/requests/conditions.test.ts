// Conditions of requests that store: they hold for the whole operation, whatever it consists of, and an answer that was
// lost on its way is not taken for a condition that failed.
import { randomBytes } from "node:crypto";
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../../src/index.ts";
import { type EncryptS3ClientOptions, encryptS3Client, rewrapObject } from "../../../src/s3.ts";
import { threeAttempts } from "../../support/retries.ts";
import { outcomeOf, readObject } from "../../support/s3-outcome.ts";
import { type S3Call, type S3Fault, S3Server } from "../../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const Bucket = "bucket";
const MiB = 2 ** 20;
const old = Buffer.from("what was there before");
const small = randomBytes(1000);
const large = randomBytes(11 * MiB);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const other = new RawAesKeyring({ keyNamespace: "n", keyName: "2", wrappingKey: randomBytes(32) });
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  server = await S3Server.start();
  plain = server.client(threeAttempts);
  await plain.send(new CreateBucketCommand({ Bucket }));
});
afterEach(() => {
  server.fault = () => undefined;
});
afterAll(() => server[Symbol.asyncDispose]());

const formats: Readonly<Record<string, Partial<EncryptS3ClientOptions>>> = {
  framed: { format: "framed" },
  "s3ec-v3": { format: "s3ec-v3" },
  "s3ec-v3 with files": { format: "s3ec-v3", instructionFiles: "write" },
};
const clientFor = (format: string): S3Client =>
  encryptS3Client(plain, { keyring, partSize: 5 * MiB, boundCopy: "reencrypt", ...formats[format] });

interface Conditions {
  readonly IfMatch?: string;
  readonly IfNoneMatch?: string;
}
/** Stores an object under `Key`; resolves to what can be read afterwards. */
interface Operation {
  readonly run: (
    client: S3Client,
    Key: string,
    conditions: Conditions,
  ) => Promise<{ ETag?: string | undefined }>;
  readonly stores: Buffer;
  /** The request that lets the object appear. */
  readonly appears: (call: S3Call, key: string) => boolean;
}
const isPut = ({ method, key, query }: S3Call, wanted: string): boolean =>
  method === "PUT" && key === wanted && !query.has("partNumber");
const isComplete = ({ method, key, query }: S3Call, wanted: string): boolean =>
  method === "POST" && key === wanted && query.has("uploadId");
const operations: Readonly<Record<string, Operation>> = {
  "PutObject of one part": {
    run: (client, Key, conditions) =>
      client.send(new PutObjectCommand({ Bucket, Key, Body: small, ...conditions })),
    stores: small,
    appears: isPut,
  },
  "PutObject of three parts": {
    run: (client, Key, conditions) =>
      client.send(new PutObjectCommand({ Bucket, Key, Body: large, ...conditions })),
    stores: large,
    appears: isComplete,
  },
  "an upload by hand": {
    run: async (client, Key, conditions) => {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
      const target = { Bucket, Key, UploadId };
      const part = { ...target, PartNumber: 1, Body: small };
      const { ETag } = await client.send(new UploadPartCommand(part));
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
      return client.send(new CompleteMultipartUploadCommand({ ...target, MultipartUpload, ...conditions }));
    },
    stores: small,
    appears: isComplete,
  },
  "CopyObject that encrypts again": {
    run: async (client, Key, conditions) => {
      await encryptS3Client(plain, { keyring }).send(
        new PutObjectCommand({ Bucket, Key: "source", Body: small }),
      );
      const copy = { Bucket, Key, CopySource: `${Bucket}/source`, ...conditions };
      const { CopyObjectResult } = await client.send(new CopyObjectCommand(copy));
      return { ETag: CopyObjectResult?.ETag };
    },
    stores: small,
    appears: isPut,
  },
};
const cases = Object.keys(formats).flatMap((format) =>
  Object.keys(operations).map((operation) => [format, operation] as const),
);

let number = 0;
describe.each(cases)("%s: %s", (format, name) => {
  const { run, stores, appears } = operations[name] as Operation;
  const start = async (): Promise<{ client: S3Client; Key: string }> => {
    number += 1;
    return { client: clientFor(format), Key: `key-${number}` };
  };
  const begin = async () => {
    const started = await start();
    const { client, Key } = started;
    const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key, Body: old }));
    return { ...started, ETag: String(ETag) };
  };
  const read = (client: S3Client, Key: string) => readObject(client, { Bucket, Key });

  test("a condition that does not hold leaves the object and what belongs to it as they were", async () => {
    const { client, Key } = await begin();
    for (const conditions of [{ IfNoneMatch: "*" }, { IfMatch: '"00000000000000000000000000000000"' }]) {
      expect(await outcomeOf(run(client, Key, conditions))).toBe("PreconditionFailed");
      expect((await read(client, Key)).equals(old)).toBe(true);
    }
    server.uploads.clear(); // that of the caller
  });

  test("a condition that holds is met", async () => {
    const { client, Key, ETag } = await begin();
    await run(client, Key, { IfMatch: ETag });
    expect((await read(client, Key)).equals(stores)).toBe(true);
    const fresh = await start();
    await run(fresh.client, fresh.Key, { IfNoneMatch: "*" });
    expect((await read(fresh.client, fresh.Key)).equals(stores)).toBe(true);
  });

  const lost: Readonly<Record<string, S3Fault>> = {
    "a connection that breaks": { kind: "reset", after: true },
    "an error of the server": { kind: "error", status: 500, code: "InternalError", after: true },
    "an error under status 200": { kind: "error200" },
  };
  const answers = Object.entries(lost).filter(
    ([fault]) => fault !== "an error under status 200" || appears === isComplete,
  );
  test.each(answers)("an answer lost by %s is found again", async (_, fault) => {
    for (const conditions of [{ IfNoneMatch: "*" }, {}])
      for (const lasts of [false, true]) {
        const { client, Key } = await start();
        let met = 0;
        server.fault = (call) => (appears(call, Key) && (met++ === 0 || lasts) ? fault : undefined);
        const output = await run(client, Key, conditions);
        server.fault = () => undefined;
        expect(met).toBeGreaterThan(0);
        expect(output.ETag).toBe(server.object(Bucket, Key).eTag);
        expect((await read(client, Key)).equals(stores)).toBe(true);
      }
  });

  test("the object of somebody else is not taken for one's own", async () => {
    const { client, Key } = await start();
    server.fault = (call) => {
      if (!appears(call, Key)) return undefined;
      server.fault = () => undefined;
      server.buckets.get(Bucket)?.set(Key, server.object(Bucket, "somebody"));
      return { kind: "reset" };
    };
    await plain.send(new PutObjectCommand({ Bucket, Key: "somebody", Body: stores }));
    expect(await outcomeOf(run(client, Key, { IfNoneMatch: "*" }))).toBe("PreconditionFailed");
    server.uploads.clear();
  });

  test("a request that was under way at the same time is waited for", async () => {
    const { client, Key } = await start();
    let met = 0;
    const conflict = { kind: "error", status: 409, code: "ConditionalRequestConflict" } as const;
    server.fault = (call) => (appears(call, Key) && met++ < 2 ? conflict : undefined);
    await run(client, Key, { IfNoneMatch: "*" });
    expect((await read(client, Key)).equals(stores)).toBe(true);
  });
});

test("what was thrown before anything was sent is not looked for", async () => {
  const calls = server.calls.length;
  const Body = (async function* () {
    yield "x";
    throw new RangeError("the source failed");
  })();
  const put = new PutObjectCommand({ Bucket, Key: "failed", Body: Body as never });
  expect(await outcomeOf(clientFor("framed").send(put))).toBe("RangeError");
  expect(server.calls.length).toBe(calls);
});

describe.each(["framed", "s3ec-v3", "s3ec-v3 with files"])("rewrap of %s", (format) => {
  test("an answer that is lost is found again, and a conflict is waited for", async () => {
    const reset = { kind: "reset", after: true } as const;
    const conflict = { kind: "error", status: 409, code: "OperationAborted" } as const;
    for (const [fault, lasts] of [
      [reset, false],
      [reset, true],
      [conflict, false],
    ] as const) {
      number += 1;
      const Key = `rewrap-${number}`;
      await clientFor(format).send(new PutObjectCommand({ Bucket, Key, Body: small }));
      let met = 0;
      server.fault = ({ method }) => (method === "PUT" && (met++ === 0 || lasts) ? fault : undefined);
      await rewrapObject(plain, { bucket: Bucket, key: Key }, { from: keyring, to: other });
      server.fault = () => undefined;
      expect(met).toBeGreaterThan(0);
      const renewed = encryptS3Client(plain, { keyring: other });
      expect((await readObject(renewed, { Bucket, Key })).equals(small)).toBe(true);
    }
  });
});
