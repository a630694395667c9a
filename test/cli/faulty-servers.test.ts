// Every command that asks S3 or KMS, against servers that fail at each stage: exit code 1, one line that names the host
// or tells what it answered, and nothing left behind. 3 is for what is not authentic, and for nothing else.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { run } from "../../src/cli/program.ts";
import { createLoopbackCertificate } from "../support/certificate.ts";
import { FULL } from "../support/full.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const said = vi.hoisted(() => ({ notes: [] as string[] }));
vi.mock("../../src/cli/output.ts", async (original) => ({
  ...(await original<object>()),
  note: (text: string) => void said.notes.push(text),
  print: () => {},
  printJson: () => {},
}));

let folder: string;
let server: S3Server;
const Bucket = "bucket";
const file = (name: string): string => path.join(folder, name);
const address = `s3://${Bucket}/body`;
const kmsArn = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555";

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-faulty-"));
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket }));
  for (const [name, value] of Object.entries({
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
    AWS_REGION: "us-east-1",
    AWS_MAX_ATTEMPTS: "1",
    AWS_CA_BUNDLE: "",
  }))
    vi.stubEnv(name, value);
  writeFileSync(file("body"), randomBytes(100_000));
  for (const name of ["a.jwk", "b.jwk"]) await run(["keygen", "-o", file(name)]);
  const put = ["put", "-k", file("a.jwk"), file("body"), address, "--endpoint", server.endpoint];
  expect(await run(put), said.notes.join()).toBe(0);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
const open: { readonly server: Server; readonly sockets: Set<Socket> }[] = [];
afterEach(async () => {
  server.fault = () => undefined;
  for (const each of open.splice(0)) {
    for (const socket of each.sockets) socket.destroy();
    await new Promise((resolve) => each.server.close(resolve));
  }
});

/** A server that does as it likes with each connection. @returns its host and port */
async function serve(
  onSocket: (socket: Socket) => void,
  make: (listener: (socket: Socket) => void) => Server = (listener) => createServer(listener),
): Promise<string> {
  const sockets = new Set<Socket>();
  const faulty = make((socket) => {
    sockets.add(socket.on("error", () => {}));
    onSocket(socket);
  });
  open.push({ server: faulty, sockets });
  await new Promise<void>((resolve) => faulty.listen(0, "127.0.0.1", resolve));
  return `127.0.0.1:${(faulty.address() as AddressInfo).port}`;
}

/** Answers every request with these bytes, once it has begun. */
const answering = (text: string, end: "open" | "closed" = "closed") =>
  serve((socket) =>
    socket.once("data", () => {
      socket.resume();
      if (end === "closed") socket.end(text);
      else socket.write(text);
    }),
  );
const http = (status: string, body: string, headers: readonly string[] = []): string =>
  [`HTTP/1.1 ${status}`, `content-length: ${Buffer.byteLength(body)}`, ...headers, "", body].join("\r\n");

const commands: Readonly<Record<string, () => readonly string[]>> = {
  put: () => ["put", "-k", file("a.jwk"), file("body"), address],
  get: () => ["get", "-k", file("a.jwk"), address, file("out")],
  "cat a range": () => ["cat", "-k", file("a.jwk"), "--range", "5-9", address],
  verify: () => ["verify", "-k", file("a.jwk"), address],
  inspect: () => ["inspect", address],
  rewrap: () => ["rewrap", "--from", file("a.jwk"), "--to", file("b.jwk"), address],
};
const kmsCommands: Readonly<Record<string, () => readonly string[]>> = {
  encrypt: () => ["encrypt", "--kms", kmsArn, file("body"), "-o", file("out")],
  "put with KMS": () => ["put", "--kms", kmsArn, file("body"), address],
};

/** Runs a command that must fail as the network does. */
async function failing(args: readonly string[], endpoint: string): Promise<string> {
  said.notes.length = 0;
  const before = readdirSync(folder).sort();
  const objects = new Map(server.buckets.get(Bucket));
  const code = await run([...args, "--endpoint", endpoint, "--read-timeout", "1", "--connect-timeout", "1"]);
  const text = said.notes.join("\n");
  expect({ code, text }, args.join(" ")).toMatchObject({ code: 1 });
  expect(said.notes, text).toHaveLength(1);
  expect(text).not.toMatch(/internal error|undefined|\[object/);
  expect(readdirSync(folder).sort()).toEqual(before);
  expect(new Map(server.buckets.get(Bucket))).toEqual(objects);
  expect(server.uploads.size).toBe(0);
  return text;
}

const html = "<html><body>Please log in</body></html>";
const xml = '<?xml version="1.0"?><ListAllMyBucketsResult/>';
const headerless = "\r\n\r\n";

/** What is wrong -> where such a server is, and what the text must say besides its host. */
const faults: Readonly<Record<string, { at: () => Promise<string>; says: RegExp; scheme?: "https" }>> = {
  "nobody listens": { at: async () => "127.0.0.1:9", says: /cannot reach .*ECONNREFUSED/ },
  "no such name": { at: async () => "no-such-host.invalid", says: /cannot reach .*(ENOTFOUND|EAI_AGAIN)/ },
  "silent from the start": { at: () => serve(() => {}), says: /in time \(--read-timeout\)/ },
  "silent in the handshake": { at: () => serve(() => {}), says: /in time \(--/, scheme: "https" },
  "silent after half a header": { at: () => answering("HTTP/1.1 200 OK\r\nx-", "open"), says: /in time/ },
  "no TLS": {
    at: () => answering(http("400 Bad Request", html)),
    says: /does not speak TLS/,
    scheme: "https",
  },
  "hangs up at once": { at: () => serve((socket) => socket.destroy()), says: /ECONNRESET/ },
  "resets the handshake": {
    at: () => serve((socket) => socket.destroy()),
    says: /ECONNRESET|EPROTO/,
    scheme: "https",
  },
  "hangs up after the request": {
    at: () => serve((socket) => socket.once("data", () => socket.destroy())),
    says: /ECONNRESET|EPIPE/,
  },
  "ends without an answer": { at: () => answering(""), says: /ECONNRESET/ },
  "speaks something else": {
    at: () => answering("SSH-2.0-OpenSSH_9.9\r\n"),
    says: /HPE_\w+|does not speak HTTP/,
  },
  "answers garbage": { at: () => answering(`\0\x01\xff${headerless}`), says: /HPE_\w+/ },
  "HTML with 200": {
    at: () => answering(http("200 OK", html, ["content-type: text/html"])),
    says: /not of S3/,
  },
  "HTML with 502": {
    at: () => answering(http("502 Bad Gateway", html, ["content-type: text/html"])),
    says: /502/,
  },
  "XML of another service": { at: () => answering(http("404 Not Found", xml)), says: /404/ },
  "no XML at all": { at: () => answering(http("400 Bad Request", "nope")), says: /400/ },
  "a redirection to itself": { at: () => answering(http("301 Moved", "", ["location: /"])), says: /301/ },
  "a login page elsewhere": {
    at: () => answering(http("302 Found", "", ["location: http://login"])),
    says: /302/,
  },
  "a time-out of a proxy": { at: () => answering(http("504 Gateway Timeout", "")), says: /504/ },
  unauthorized: { at: () => answering(http("401 Unauthorized", "")), says: /401.*credentials/ },
  "proxy authentication": { at: () => answering(http("407 Proxy Authentication Required", "")), says: /407/ },
};
const certificates = {
  "a certificate of its own": { options: {}, isTrusted: false, says: /SELF_SIGNED_CERT/ },
  "an expired certificate": { options: { expired: true }, isTrusted: true, says: /CERT_HAS_EXPIRED/ },
  "a certificate of another name": { options: { address: [127, 0, 0, 2] }, isTrusted: true, says: /ALTNAME/ },
};

const sample = <Value>(all: Readonly<Record<string, Value>>, at: number): [string, Value][] => {
  const entries = Object.entries(all);
  const one = entries[at % entries.length];
  return FULL ? entries : one === undefined ? [] : [one];
};

describe("every command against a server with", () => {
  test.each(Object.entries(faults))("%s", async (name, { at, says, scheme = "http" }) => {
    const host = await at();
    for (const [, args] of sample(commands, Object.keys(faults).indexOf(name))) {
      const text = await failing(args(), `${scheme}://${host}`);
      expect(text).toMatch(says);
      if (!/the service answered/.test(text)) expect(text).toContain(host);
    }
    for (const [, args] of FULL || !name.startsWith("silent") ? sample(kmsCommands, 0) : []) {
      const text = await failing(args(), `${scheme}://${host}`);
      if (!/answered/.test(text)) expect(text).toContain(host);
    }
  });

  test.each(Object.entries(certificates))("%s", async (name, { options, isTrusted, says }) => {
    const certificate = createLoopbackCertificate(options);
    writeFileSync(file("trusted.pem"), isTrusted ? certificate.cert : server.certificate);
    vi.stubEnv("AWS_CA_BUNDLE", file("trusted.pem"));
    try {
      const host = await serve(
        () => {},
        (listener) => createTlsServer(certificate).on("connection", listener),
      );
      for (const [, args] of sample(commands, Object.keys(certificates).indexOf(name))) {
        const text = await failing(args(), `https://${host}`);
        expect(text).toMatch(says);
        expect(text).toContain(host);
      }
    } finally {
      vi.stubEnv("AWS_CA_BUNDLE", "");
    }
  });
});

describe("every command, when S3 answers", () => {
  const answers: readonly (readonly [number, string, RegExp])[] = [
    [400, "AuthorizationHeaderMalformed", /400/],
    [403, "AccessDenied", /403/],
    [403, "RequestTimeTooSkewed", /403/],
    [403, "SignatureDoesNotMatch", /403/],
    [404, "NoSuchBucket", /404/],
    [409, "OperationAborted", /409/],
    [429, "TooManyRequests", /429/],
    [500, "InternalError", /500/],
    [501, "NotImplemented", /501/],
    [503, "SlowDown", /503/],
  ];
  test.each(answers)("%i %s", async (status, code, says) => {
    server.fault = () => ({ kind: "error", status, code });
    for (const [, args] of sample(
      commands,
      answers.findIndex((each) => each[1] === code),
    ))
      expect(await failing(args(), server.endpoint)).toMatch(says);
  });
});

describe("every reader, when the body", () => {
  const bodies = {
    "breaks off again and again": { kind: "cut", at: 0 },
    "falls silent again and again": { kind: "stall-body", at: 0 },
    "breaks off after the headers": { kind: "reset-headers" },
  } as const;
  // Each takes seconds of pauses before the last attempt.
  test.each(FULL ? Object.entries(bodies) : Object.entries(bodies).slice(0, 1))(
    "%s",
    async (_name, fault) => {
      server.fault = ({ method }) => (method === "GET" ? fault : undefined);
      const readers = Object.fromEntries(
        Object.entries(commands).filter(([name]) => /get|verify|rewrap/.test(name)),
      );
      const text = await failing(sample(readers, 0)[0]?.[1]() ?? [], server.endpoint);
      expect(text).toContain(new URL(server.endpoint).host);
    },
  );
});
