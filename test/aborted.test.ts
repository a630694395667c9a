// Who aborts gets one error, whatever was called and whoever was waited for: ABORTED, with the reason of the signal as its
// cause; never an AbortError, and never the reason itself. Every public function that takes a signal is here.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  createDecryptStream,
  createEncryptStream,
  decrypt,
  decryptFile,
  decryptWebStream,
  encrypt,
  encryptFile,
  encryptWebStream,
  type FrameTransform,
  inspectFile,
  type Keyring,
  keyringFromKeyFile,
  openMessage,
  prepareMessage,
  RawAesKeyring,
  verifyFile,
} from "../src/index.ts";
import { decryptObject, encryptObject, encryptS3Client, rewrapObject } from "../src/s3.ts";
import { publicParameters } from "./support/public-options.ts";
import { S3Server } from "./support/s3-server.ts";
import { signals } from "./support/signals.ts";

const data = randomBytes(300_000);
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });
const location = { bucket: "bucket", key: "key" };
const place = { Bucket: "bucket", Key: "key" };
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-aborted-"));
const at = (name: string): string => path.join(folder, name);
let files = 0;
const fresh = (): string => at(`file-${++files}`);

let message: Buffer;
let object: Awaited<ReturnType<typeof encryptObject<Buffer>>>;
let server: S3Server;
let plain: S3Client;
beforeAll(async () => {
  message = await encrypt(data, { keyring });
  object = await encryptObject(location, data, { keyring });
  writeFileSync(at("plain"), data);
  writeFileSync(at("sealed"), message);
  server = await S3Server.start();
  plain = server.client({ maxAttempts: 1 });
  await plain.send(new CreateBucketCommand({ Bucket: "bucket" }));
  await encryptS3Client(plain, { keyring }).send(new PutObjectCommand({ ...place, Body: data }));
});
afterEach(() => {
  server.fault = () => undefined;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** What a call is given. */
interface Context {
  readonly signal: AbortSignal;
  readonly keyring: Keyring;
  /** A source of a message that `openMessage` has opened, and that says nothing more. */
  readonly source: Parameters<typeof openMessage>[0];
  readonly client: S3Client;
}
type Call = (context: Context) => Promise<unknown>;

/** Resolves when the stream has ended well. */
function streamed(stream: FrameTransform, input: Uint8Array): Promise<unknown> {
  stream.end(input);
  return buffer(stream);
}
async function webStreamed(stream: ReturnType<typeof encryptWebStream>, input: Uint8Array): Promise<unknown> {
  const writer = stream.writable.getWriter();
  writer.closed.catch(() => {});
  writer
    .write(input)
    .then(() => writer.close())
    .catch(() => {});
  return buffer(stream.readable);
}
const calls: Readonly<Record<string, Call>> = {
  encrypt: ({ signal, keyring: by }) => encrypt(data, { keyring: by, signal }),
  decrypt: ({ signal, keyring: by }) => decrypt(message, { keyring: by, signal }),
  prepareMessage: ({ signal, keyring: by }) => prepareMessage({ keyring: by, signal }),
  createEncryptStream: ({ signal, keyring: by }) =>
    streamed(createEncryptStream({ keyring: by, signal }), data),
  createDecryptStream: ({ signal, keyring: by }) =>
    streamed(createDecryptStream({ keyring: by, signal }), message),
  encryptWebStream: ({ signal, keyring: by }) => webStreamed(encryptWebStream({ keyring: by, signal }), data),
  decryptWebStream: ({ signal, keyring: by }) =>
    webStreamed(decryptWebStream({ keyring: by, signal }), message),
  encryptFile: ({ signal, keyring: by }) => encryptFile(at("plain"), fresh(), { keyring: by, signal }),
  decryptFile: ({ signal, keyring: by }) => decryptFile(at("sealed"), fresh(), { keyring: by, signal }),
  verifyFile: ({ signal, keyring: by }) => verifyFile(at("sealed"), { keyring: by, signal }),
  openMessage: ({ signal, keyring: by }) => openMessage(message, { keyring: by, signal }),
  "MessageReader.read": async ({ signal, source }) =>
    (await openMessage(source, { keyring })).read(150_000, 150_010, { signal }),
  "MessageReader.createReadStream": async ({ signal, source }) =>
    buffer(
      (await openMessage(source, { keyring })).createReadStream({ start: 150_000, end: 150_010, signal }),
    ),
  encryptObject: ({ signal, keyring: by }) => encryptObject(location, data, { keyring: by, signal }),
  decryptObject: ({ signal, keyring: by }) =>
    decryptObject(location, { body: object.body, metadata: object.metadata }, { keyring: by, signal }),
  rewrapObject: ({ signal, keyring: by }) => rewrapObject(plain, location, { from: by, to: by, signal }),
};
const commands = {
  PutObject: () => new PutObjectCommand({ ...place, Body: data }),
  GetObject: () => new GetObjectCommand(place),
  "GetObject of a range": () => new GetObjectCommand({ ...place, Range: "bytes=5-10" }),
  HeadObject: () => new HeadObjectCommand(place),
  CopyObject: () => new CopyObjectCommand({ ...place, Key: "copy", CopySource: "bucket/key" }),
  DeleteObject: () => new DeleteObjectCommand({ ...place, Key: "none" }),
  DeleteObjects: () => new DeleteObjectsCommand({ ...place, Delete: { Objects: [{ Key: "none" }] } }),
  ListObjectsV2: () => new ListObjectsV2Command(place),
  CreateMultipartUpload: () => new CreateMultipartUploadCommand({ ...place, Key: "parts" }),
  // Passed on as they are.
  HeadBucket: () => new HeadBucketCommand(place),
  GetBucketLocation: () => new GetBucketLocationCommand(place),
  GetObjectTagging: () => new GetObjectTaggingCommand(place),
};
const sent: Readonly<Record<string, Call>> = Object.fromEntries(
  Object.entries(commands).map(([name, command]): [string, Call] => [
    `send(${name})`,
    ({ client, signal }) => client.send(command() as GetObjectCommand, { abortSignal: signal }),
  ]),
);
const never = (): Promise<never> => new Promise(() => {});
/** All that is asked answers, or nobody does, and `onAsked` is told. */
function contextOf(signal: AbortSignal, onAsked?: () => void): Context {
  const client = encryptS3Client(plain, { keyring });
  if (onAsked === undefined) return { signal, keyring, source: message, client };
  const silence = (): Promise<never> => {
    onAsked();
    return never();
  };
  server.fault = () => {
    onAsked();
    return { kind: "stall" };
  };
  return {
    signal,
    client,
    keyring: { generateDataKey: silence, wrapDataKey: silence, unwrapDataKey: silence },
    source: {
      size: message.length,
      // The header and the final frame are read when it is opened.
      read: async (start, end) =>
        start > 20_000 && end < message.length ? silence() : message.subarray(start, end),
    },
  };
}

/** What they read can only fall silent as a pipe does, for which they have tests of their own. */
const onlyBefore: Readonly<Record<string, (context: Context) => Promise<unknown>>> = {
  inspectFile: ({ signal }) => inspectFile(at("sealed"), { signal }),
  keyringFromKeyFile: ({ signal }) => keyringFromKeyFile(at("sealed"), { signal }),
};

test("every public function that takes a signal is here", () => {
  const found = ["index", "s3"]
    .flatMap((entry) => publicParameters(entry))
    .filter(({ type, names }) => type !== "DataKeyRequest" && names.includes("signal"))
    .map(({ callee }) => callee)
    .filter((callee) => !callee.startsWith("new "));
  expect([...new Set(found)].sort()).toEqual([...Object.keys(calls), ...Object.keys(onlyBefore)].sort());
});

describe.each(Object.entries(signals))("with %s", (_, make) => {
  const reason = new Error("enough");
  const expected = { name: "FramesealError", code: "ABORTED", cause: reason };
  const refused = async (settled: Promise<unknown>): Promise<void> => {
    const error = await settled.then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toMatchObject(expected);
    expect((error as Error).cause).toBe(reason);
  };
  test.each([...Object.entries(calls), ...Object.entries(sent), ...Object.entries(onlyBefore)])(
    "%s, aborted before it begins",
    async (_name, call) => {
      const { signal, abort } = make();
      abort(reason);
      await refused(call(contextOf(signal)));
    },
  );
  test.each([...Object.entries(calls), ...Object.entries(sent)])(
    "%s, aborted while it waits",
    async (_name, call) => {
      const { signal, abort } = make();
      await new Promise<void>((resolve, reject) => {
        const settled = call(contextOf(signal, () => setImmediate(() => abort(reason))));
        refused(settled).then(resolve, reject);
      });
    },
  );
  test("a reason that is none, or no error, is the cause all the same", async () => {
    for (const odd of ["text", null, 5, new DOMException("over", "TimeoutError")]) {
      const { signal, abort } = make();
      abort(odd);
      await expect(encrypt(data, { keyring, signal })).rejects.toMatchObject({ code: "ABORTED", cause: odd });
    }
  });
});
