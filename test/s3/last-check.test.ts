// Whatever middleware there is, at any step, on the client before or after it was wrapped or on the command: what leaves
// under a sealed request is what was sealed, where it was sealed for, or nothing.
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  PutBucketTaggingCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { RawAesKeyring } from "../../src/index.ts";
import { LastCheck } from "../../src/s3/last-check.ts";
import type { MiddlewareStack } from "../../src/s3/sdk-client.ts";
import { Transport } from "../../src/s3/transport.ts";
import { encryptS3Client, serverSideEncryptS3Client, sseC } from "../../src/s3.ts";
import { outcomeOf, readObject } from "../support/s3-outcome.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 });

const Bucket = "bucket";
const P = 5 * 2 ** 20;
const SECRET = Buffer.from("this text is secret and must not leave ".repeat(8));
const keyring = new RawAesKeyring({ keyNamespace: "n", keyName: "k", wrappingKey: randomBytes(32) });

let server: S3Server;
let leaked: string[] = [];
beforeAll(async () => {
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  server.onBody = (call, body) => {
    if (body.includes(SECRET)) leaked.push(`${call.method} ${call.key}`);
  };
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  leaked = [];
});

interface Request {
  body?: unknown;
  path: string;
  hostname: string;
  headers: Record<string, string>;
  query: Record<string, string>;
}
interface Arguments {
  input: Record<string, unknown>;
  request?: Request;
}
type Change = (args: Arguments, context: { commandName?: string }) => Arguments;
interface UserStack {
  add(middleware: unknown, options: object): void;
  addRelativeTo(middleware: unknown, options: object): void;
}

const steps = ["initialize", "serialize", "build", "finalizeRequest", "deserialize"] as const;
const priorities = ["high", "normal", "low"] as const;
const middlewareOf =
  (change: Change) =>
  (next: (args: Arguments) => unknown, context: { commandName?: string }) =>
  (args: Arguments) =>
    next(change(args, context));
const isStoring = ({ commandName = "" }: { commandName?: string }) =>
  /^(PutObject|UploadPart)Command$/.test(commandName);

/** Changes the body, in the request if there is one, else in the input. */
const withBody =
  (bodyOf: (body: unknown) => unknown): Change =>
  (args, context) => {
    if (!isStoring(context)) return args;
    if (args.request === undefined)
      return { ...args, input: { ...args.input, Body: bodyOf(args.input.Body) } };
    args.request.body = bodyOf(args.request.body);
    return args;
  };
const replaced = withBody((body) => {
  const copy = Buffer.alloc((body as Uint8Array | undefined)?.length ?? SECRET.length);
  copy.set(SECRET.subarray(0, copy.length));
  return copy;
});
const inPlace = withBody((body) => {
  if (body instanceof Uint8Array) body.set(SECRET.subarray(0, body.length));
  return body;
});
const streamed = withBody(() => Readable.from([SECRET], { objectMode: false }));
const text = withBody(() => SECRET.toString());
const longer = withBody((body) => Buffer.concat([Buffer.from(body as Uint8Array), SECRET]));
const attacks: readonly (readonly [string, Change])[] = [
  ["replaced by bytes of the same length", replaced],
  ["changed in place", inPlace],
  ["replaced by a stream", streamed],
  ["replaced by text", text],
  ["made longer", longer],
];

type Place = "client before" | "client after" | "command";
const places: readonly Place[] = ["client before", "client after", "command"];

/** Sends `command` with a middleware at one place. */
async function sendWith(
  place: Place,
  add: (stack: UserStack) => void,
  command: PutObjectCommand | UploadPartCommand | CreateMultipartUploadCommand | CopyObjectCommand,
  options: Partial<Parameters<typeof encryptS3Client>[1]> = {},
): Promise<string> {
  const plain = server.client({ maxAttempts: 2 });
  if (place === "client before") add(plain.middlewareStack as unknown as UserStack);
  const client = encryptS3Client(plain, { keyring, partSize: P, ...options });
  if (place === "client after") add(client.middlewareStack as unknown as UserStack);
  if (place === "command") add(command.middlewareStack as unknown as UserStack);
  return outcomeOf(client.send(command as PutObjectCommand));
}
const adding =
  (change: Change, step: string, priority: string) =>
  (stack: UserStack): void =>
    stack.add(middlewareOf(change), { step, priority, name: "user" });

const table = places.flatMap((place) =>
  steps.flatMap((step) => priorities.map((priority) => [place, step, priority] as const)),
);

describe.each(attacks)("a body that is %s", (_, attack) => {
  test.each(table)(
    "by middleware on the %s at %s, priority %s, does not leave",
    async (place, step, priority) => {
      const before = server.calls.length;
      const Key = `${place}/${step}/${priority}`;
      const command = new PutObjectCommand({
        Bucket,
        Key,
        Body: "the text of the caller, long enough for the attack".repeat(9),
      });
      const outcome = await sendWith(place, adding(attack, step, priority), command);
      expect(leaked).toEqual([]);
      expect(["accepted", "POLICY"]).toContain(outcome);
      // What came before the encryption was sealed; what came later was refused before it left.
      if (outcome === "POLICY") expect(server.calls.length).toBe(before);
      else
        expect(
          (await readObject(encryptS3Client(server.client(), { keyring }), { Bucket, Key })).length,
        ).toBeGreaterThan(0);
      if (step !== "initialize") expect(outcome).toBe("POLICY");
    },
  );
});

test.each([
  "serializerMiddleware",
  "flexibleChecksumsMiddleware",
  "retryMiddleware",
  "httpSigningMiddleware",
  "deserializerMiddleware",
])("a body that is replaced beside %s does not leave", async (toMiddleware) => {
  for (const relation of ["before", "after"]) {
    const add = (stack: UserStack) =>
      stack.addRelativeTo(middlewareOf(replaced), { relation, toMiddleware, name: "user" });
    const command = new PutObjectCommand({ Bucket, Key: "relative", Body: "text of the caller" });
    expect(await sendWith("client after", add, command)).toBe("POLICY");
  }
  expect(leaked).toEqual([]);
});

describe("every request that carries sealed bytes", () => {
  const late = (change: Change) => adding(change, "finalizeRequest", "low");

  test.each(attacks)("parts of a long body: %s", async (_, attack) => {
    const command = new PutObjectCommand({ Bucket, Key: "long", Body: Buffer.alloc(P + 10, 1) });
    for (const place of ["client before", "client after"] as const) {
      expect(await sendWith(place, late(attack), command)).toBe("POLICY");
      expect(await sendWith(place, adding(attack, "serialize", "high"), command)).toBe("POLICY");
    }
    expect(leaked).toEqual([]);
    expect(server.uploads.size).toBe(0);
  });

  test("one byte of a long part, changed in place", async () => {
    const flip = withBody((body) => {
      if (body instanceof Uint8Array) body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 1;
      return body;
    });
    const command = new PutObjectCommand({ Bucket, Key: "long", Body: Buffer.alloc(P + 10, 1) });
    expect(await sendWith("client after", late(flip), command)).toBe("POLICY");
  });

  test.each(attacks)("parts by hand: %s", async (_, attack) => {
    const plain = server.client();
    const client = encryptS3Client(plain, { keyring });
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: "hand" }));
    const part = new UploadPartCommand({
      Bucket,
      Key: "hand",
      UploadId,
      PartNumber: 1,
      Body: Buffer.alloc(P, 1),
    });
    late(attack)(part.middlewareStack as unknown as UserStack);
    expect(await outcomeOf(client.send(part))).toBe("POLICY");
    expect(leaked).toEqual([]);
    server.uploads.clear();
  });

  test.each(attacks)("instruction files: %s", async (_, attack) => {
    const onlyFile: Change = (args, context) =>
      String(args.input.Key).endsWith(".instruction") ? attack(args, context) : args;
    const command = new PutObjectCommand({ Bucket, Key: "side", Body: "text" });
    const options = { format: "s3ec-v3", instructionFiles: "write" } as const;
    const before = server.calls.length;
    expect(await sendWith("client after", late(onlyFile), command, options)).toBe("POLICY");
    const writes = server.calls.slice(before).filter(({ method }) => method === "PUT");
    expect(writes.map(({ key }) => key)).not.toContain("side.instruction");
    expect(leaked).toEqual([]);
  });

  test("what a transport sends through a client that does not encrypt", async () => {
    const plain = server.client();
    late(replaced)(plain.middlewareStack as unknown as UserStack);
    const sent = new Transport(plain).putObject({ Bucket, Key: "x", Body: Buffer.from("sealed") });
    expect(await outcomeOf(sent)).toBe("POLICY");
  });
});

describe("what belongs to the body", () => {
  const onRequest =
    (change: (request: Request) => void): Change =>
    (args, context) => {
      if (args.request !== undefined && isStoring(context)) change(args.request);
      return args;
    };
  const changes: readonly (readonly [string, (request: Request) => void])[] = [
    [
      "another key",
      (request) => {
        request.path = `/${Bucket}/other`;
      },
    ],
    [
      "a longer key that ends in it",
      (request) => {
        request.path = `/${Bucket}/in/place`;
      },
    ],
    [
      "another bucket",
      (request) => {
        request.path = "/other/place";
      },
    ],
    [
      "a path that is none",
      (request) => {
        request.path = "/%zz";
      },
    ],
    [
      "another length",
      (request) => {
        request.headers["content-length"] = "3";
      },
    ],
  ];
  test.each(changes)("%s", async (_, change) => {
    const before = server.calls.length;
    const command = new PutObjectCommand({ Bucket, Key: "place", Body: "text" });
    expect(await sendWith("client after", adding(onRequest(change), "build", "low"), command)).toBe("POLICY");
    expect(server.calls.length).toBe(before);
  });

  test.each([
    ["partNumber", "2"],
    ["uploadId", "another"],
  ])("another %s", async (name, value) => {
    const command = new PutObjectCommand({ Bucket, Key: "place", Body: Buffer.alloc(P + 1) });
    const change = onRequest((request) => {
      request.query[name] = value;
    });
    const onPart: Change = (args, context) =>
      context.commandName === "UploadPartCommand" ? change(args, context) : args;
    expect(await sendWith("client after", adding(onPart, "build", "low"), command)).toBe("POLICY");
  });

  test("the envelope in the metadata, of a put, of parts and of a copy", async () => {
    const options = { format: "s3ec-v3" } as const;
    const client = encryptS3Client(server.client(), { keyring, ...options });
    await client.send(new PutObjectCommand({ Bucket, Key: "from", Body: "text" }));
    const dropped: Change = (args) => {
      for (const name of Object.keys(args.request?.headers ?? {}))
        if (name.startsWith("x-amz-meta-") && name !== "x-amz-meta-own") delete args.request?.headers[name];
      return args;
    };
    const changed: Change = (args) => {
      for (const name of Object.keys(args.request?.headers ?? {}))
        if (name.startsWith("x-amz-meta-") && args.request !== undefined) args.request.headers[name] += "x";
      return args;
    };
    const commands = [
      new PutObjectCommand({ Bucket, Key: "to", Body: "text", Metadata: { own: "1" } }),
      new PutObjectCommand({ Bucket, Key: "to", Body: Buffer.alloc(P + 1) }),
      new CreateMultipartUploadCommand({ Bucket, Key: "to" }),
      new CopyObjectCommand({
        Bucket,
        Key: "to",
        CopySource: `${Bucket}/from`,
        MetadataDirective: "REPLACE",
      }),
    ];
    for (const command of commands)
      for (const change of [dropped, changed])
        expect(await sendWith("client after", adding(change, "build", "low"), command, options)).toBe(
          "POLICY",
        );
    expect(server.uploads.size).toBe(0);
    const told: Change = (args) => {
      if (args.request !== undefined) args.request.headers["x-amz-meta-trace"] = "1";
      return args;
    };
    for (const command of commands.slice(0, 2))
      expect(await sendWith("client before", adding(told, "build", "low"), command, options)).toBe(
        "accepted",
      );
  });
});

describe("what the check leaves alone", () => {
  test("middleware that adds headers, answers by itself, or is on a passed command", async () => {
    const traced: Change = (args) => {
      if (args.request !== undefined) args.request.headers["x-trace"] = "1";
      return args;
    };
    for (const place of places)
      for (const step of ["build", "finalizeRequest"]) {
        const command = new PutObjectCommand({ Bucket, Key: "traced", Body: "text" });
        expect(await sendWith(place, adding(traced, step, "high"), command)).toBe("accepted");
      }
    const client = encryptS3Client(server.client(), { keyring });
    const answered = new PutObjectCommand({ Bucket, Key: "answered", Body: "text" });
    const before = server.calls.length;
    answered.middlewareStack.add(
      () => async () => ({ output: { $metadata: {}, ETag: '"mine"' }, response: undefined }),
      {
        step: "build",
        name: "answer",
      },
    );
    expect(await client.send(answered)).toMatchObject({ ETag: '"mine"' });
    expect(server.calls.length).toBe(before);
  });

  test("a copy of the sealed bytes, and a request through a gateway", async () => {
    const copied = withBody((body) => (body instanceof Uint8Array ? Uint8Array.from(body) : body));
    const command = new PutObjectCommand({ Bucket, Key: "copied", Body: "text" });
    expect(await sendWith("client after", adding(copied, "build", "high"), command)).toBe("accepted");
    const requests: string[] = [];
    const gateway = server.client({ endpoint: "http://gateway.invalid" });
    gateway.middlewareStack.add(
      (next) => async (args) => {
        const request = args.request as Request & { port?: number };
        request.hostname = "127.0.0.1";
        request.port = Number(new URL(server.endpoint).port);
        requests.push(request.path);
        return next(args);
      },
      { step: "build", priority: "low", name: "route" },
    );
    const put = encryptS3Client(gateway, { keyring }).send(command);
    expect(await outcomeOf(put)).toBe("accepted");
    expect(requests).toEqual([`/${Bucket}/copied`]);
  });

  test("retries, which send the same bytes", async () => {
    let failed = false;
    server.fault = (call) => {
      if (call.method !== "PUT" || failed) return undefined;
      failed = true;
      return { kind: "error", status: 503, code: "SlowDown" };
    };
    const client = encryptS3Client(server.client(), { keyring });
    const put = client.send(new PutObjectCommand({ Bucket, Key: "retried", Body: "text" }));
    expect(await outcomeOf(put)).toBe("accepted");
    server.fault = () => undefined;
    expect(failed).toBe(true);
  });

  test("a handler that is put in place later sees sealed bytes", async () => {
    const plain = server.client();
    const client = encryptS3Client(plain, { keyring });
    const { requestHandler } = plain.config;
    const bodies: unknown[] = [];
    plain.config.requestHandler = {
      ...requestHandler,
      handle(request: Request, options: never) {
        bodies.push(request.body);
        return requestHandler.handle(request as never, options);
      },
    } as never;
    const Body = SECRET;
    await client.send(new PutObjectCommand({ Bucket, Key: "handler", Body }));
    expect(Buffer.from(bodies[0] as Uint8Array).includes(Body)).toBe(false);
    await client.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: [] } })).catch(() => {});
    expect(typeof bodies[1]).toBe("string");
  });
});

test("nothing leaves before it was said what it is", async () => {
  const check = new LastCheck(() => true);
  const stack = server.client().middlewareStack as unknown as MiddlewareStack;
  const guarded = check.guard(async () => "sent", {}, stack);
  const request = { path: "/key", body: "text" };
  await expect(guarded({ request })).rejects.toThrow(expect.objectContaining({ code: "POLICY" }));
  check.pass();
  expect(await guarded({ request })).toBe("sent");
  expect(() => check.expect("PutObject", { Body: "text" })).toThrow("internal error");
  check.expect("CreateMultipartUpload", { Key: "key" });
  await expect(guarded({ request: { ...request, body: Buffer.from("x") } })).rejects.toThrow("not encrypted");
});

describe("keys of SSE-C", () => {
  const key = randomBytes(32);
  const elsewhere = (): S3Client =>
    server.client({
      endpoint: "http://s3.example",
      maxAttempts: 1,
      requestHandler: {
        handle: () => Promise.reject(new Error("sent")),
        updateHttpClientConfig() {},
        httpHandlerConfigs: () => ({}),
      },
    });
  const put = (fields: object = {}) => new PutObjectCommand({ Bucket, Key: "k", Body: "text", ...fields });

  test.each([
    ["a client for server-side encryption", () => serverSideEncryptS3Client(elsewhere(), sseC(key)), {}],
    [
      "an encrypting client",
      () => encryptS3Client(elsewhere(), { keyring, serverSideEncryption: sseC(key) }),
      {},
    ],
    [
      "an encrypting client, given by the caller",
      () => encryptS3Client(elsewhere(), { keyring }),
      { SSECustomerAlgorithm: "AES256", SSECustomerKey: key.toString("base64") },
    ],
    [
      "both, one on the other",
      () => encryptS3Client(serverSideEncryptS3Client(elsewhere(), sseC(key)), { keyring }),
      {},
    ],
  ] as const)("do not leave over http: %s", async (_, client, fields) => {
    await expect(client().send(put(fields))).rejects.toThrow("SSE-C sends its key with every request");
  });

  test("do not leave over http when middleware changes the address late", async () => {
    const client = serverSideEncryptS3Client(server.secureClient(), sseC(key));
    client.middlewareStack.add(
      (next) => async (args) => {
        Object.assign(args.request as object, { protocol: "http:", hostname: "s3.example" });
        return next(args);
      },
      { step: "finalizeRequest", priority: "low", name: "reroute" },
    );
    await expect(client.send(put())).rejects.toThrow("SSE-C sends its key with every request");
  });

  test("leave over http to this machine", async () => {
    const client = serverSideEncryptS3Client(server.client(), sseC(key));
    // The server refuses it, as S3 would.
    expect(await outcomeOf(client.send(put()))).toBe("InvalidRequest");
  });
});
