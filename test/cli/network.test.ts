// What the command line says when the network or the service fails, and with which exit code: never that of tampering.
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { describe as describeFailure, exitCodeOf } from "../../src/cli/failure.ts";
import { FramesealError } from "../../src/errors.ts";
import { frameseal, type RunResult } from "../support/command-line.ts";
import { S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const bucket = "bucket";
const body = randomBytes(3 * 2 ** 20 + 7);
let folder: string;
let server: S3Server;
const env = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };
const run = (args: readonly string[], endpoint = server.endpoint): Promise<RunResult> =>
  frameseal([...args, "--endpoint", endpoint], { cwd: folder, env });
const address = `s3://${bucket}/body`;
const getting = ["get", "-k", "a.jwk", "--force", address, "out"];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-network-"));
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket: bucket }));
  await frameseal(["keygen", "-o", "a.jwk"], { cwd: folder });
  writeFileSync(path.join(folder, "body"), body);
  expect((await run(["put", "-k", "a.jwk", "body", address])).code).toBe(0);
});
afterEach(() => {
  server.fault = () => undefined;
  rmSync(path.join(folder, "out"), { force: true });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

test("a body that is cut, or falls silent, is fetched to its end", async () => {
  for (const kind of ["cut", "stall-body"] as const) {
    let number = 0;
    server.fault = ({ method }) => (method === "GET" && ++number <= 2 ? { kind, at: 500_000 } : undefined);
    const { code, stderr } = await run([...getting, "--read-timeout", "1"]);
    expect({ code, stderr }, kind).toMatchObject({ code: 0 });
    expect(readFileSync(path.join(folder, "out")).equals(body)).toBe(true);
    expect(number).toBe(3);
  }
});

test.each([
  ["get", getting],
  ["verify", ["verify", "-k", "a.jwk", address]],
  ["cat", ["cat", "-k", "a.jwk", address]],
])("%s ends with exit code 1 when the object is replaced while it is read", async (_name, args) => {
  const before = server.object(bucket, "body");
  let number = 0;
  server.fault = () => {
    if (++number === 2) server.buckets.get(bucket)?.set("body", { ...before, eTag: '"other"' });
    return { kind: "cut", at: 500_000 };
  };
  const { code, stderr } = await run(args);
  server.buckets.get(bucket)?.set("body", before);
  expect({ code, stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("was replaced or deleted"),
  });
  expect(existsSync(path.join(folder, "out"))).toBe(false);
});

test("a server that says nothing", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => void sockets.push(socket.on("error", () => {})));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  try {
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const { code, stderr } = await run([...getting, "--read-timeout", "1"], endpoint);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `frameseal: no answer of ${endpoint.slice("http://".length)} in time (--read-timeout)\n`,
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

test("a server that is not there", async () => {
  const { code, stderr } = await run(getting, "http://127.0.0.1:9");
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: "frameseal: cannot reach 127.0.0.1:9 (ECONNREFUSED)\n",
  });
});

describe("texts", () => {
  const error = (fields: object, message = "library text"): Error =>
    Object.assign(new Error(message), fields);
  const sent = { $metadata: { attempts: 3 } };
  const connect = { syscall: "connect", code: "ECONNREFUSED", address: "::1", port: 80 };
  test.each([
    ["refused", error({ ...sent, ...connect }), "cannot reach [::1]:80 (ECONNREFUSED)"],
    [
      "refused at every address",
      error({ ...sent, code: "ECONNREFUSED", errors: [error(connect)] }, ""),
      "cannot reach [::1]:80 (ECONNREFUSED)",
    ],
    ["refused, not by an SDK", error(connect), "cannot reach [::1]:80 (ECONNREFUSED)"],
    [
      "no such name",
      error({ ...sent, syscall: "getaddrinfo", code: "ENOTFOUND", hostname: "s3.example" }),
      "cannot reach s3.example (ENOTFOUND); look at --endpoint and --region",
    ],
    [
      "reset",
      error({ ...sent, name: "TimeoutError", code: "ECONNRESET" }),
      "cannot reach the service (ECONNRESET)",
    ],
    [
      "no certificate",
      error({ ...sent, code: "CERT_HAS_EXPIRED" }),
      "cannot reach the service (CERT_HAS_EXPIRED); its certificate has expired",
    ],
    [
      "no HTTP",
      error({ ...sent, code: "HPE_INVALID_CONSTANT" }),
      "cannot reach the service (HPE_INVALID_CONSTANT); it does not speak HTTP",
    ],
    [
      "silence",
      error({ ...sent, name: "TimeoutError" }, "the request socket timed out"),
      "no answer of the service in time (--read-timeout)",
    ],
    [
      "no connection",
      error(
        { ...sent, name: "TimeoutError" },
        "the request socket did not establish a connection with the server",
      ),
      "no connection to the service in time (--connect-timeout)",
    ],
    [
      "broken for good",
      new FramesealError("NETWORK", "the connection broke", { cause: error({ ...sent, ...connect }) }),
      "the connection broke (cannot reach [::1]:80 (ECONNREFUSED))",
    ],
    [
      "another region",
      error(
        {
          name: "PermanentRedirect",
          $metadata: { httpStatusCode: 301 },
          $response: { headers: { "x-amz-bucket-region": "eu-north-1" } },
        },
        "",
      ),
      "the service answered PermanentRedirect (HTTP 301); the bucket is in region eu-north-1",
    ],
  ])("%s", (_name, failure, text) => {
    expect(describeFailure(failure)).toBe(text);
    expect(exitCodeOf(failure)).toBe(1);
  });
});
