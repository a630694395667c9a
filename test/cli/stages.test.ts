// A command that has to end while it waits, at whatever stage, ends at once and leaves nothing behind: no file, no part of
// one, no object and no upload. Time limits say which host they waited for.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { run } from "../../src/cli/program.ts";
import { frameseal } from "../support/command-line.ts";
import { FakeKms } from "../support/fake-kms.ts";
import { type S3Call, type S3Fault, S3Server } from "../support/s3-server.ts";

vi.setConfig({ testTimeout: 60_000 }); // machines can be busy

const state = vi.hoisted(() => ({ controller: new AbortController(), notes: [] as string[] }));
vi.mock("../../src/cli/interrupt.ts", () => ({
  get interruptSignal() {
    return state.controller.signal;
  },
  interruptedExitCode: () => undefined,
  timeLimitFailure: () => (state.controller.signal.aborted ? state.controller.signal.reason : undefined),
  limitTime: () => {},
  beforeSuddenEnd: () => () => {},
}));
vi.mock("../../src/cli/output.ts", async (original) => ({
  ...(await original<object>()),
  note: (text: string) => void state.notes.push(text),
}));

const Bucket = "bucket";
let folder: string;
let server: S3Server;
let kms: FakeKms;
let kmsKey: string;
const file = (name: string): string => path.join(folder, name);
const environment = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_REGION: "us-east-1" };

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-stages-"));
  [server, kms] = await Promise.all([S3Server.start(), FakeKms.start()]);
  kmsKey = kms.createKey("us-east-1");
  await server.client().send(new CreateBucketCommand({ Bucket }));
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  for (const name of ["a.jwk", "b.jwk"]) await run(["keygen", "-o", file(name)]);
  writeFileSync(file("small"), randomBytes(100));
  writeFileSync(file("long"), randomBytes(12_000_000));
  for (const name of ["small", "long"])
    expect(
      await run([
        "put",
        "-k",
        file("a.jwk"),
        file(name),
        `s3://${Bucket}/${name}`,
        "--endpoint",
        server.endpoint,
      ]),
    ).toBe(0);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await Promise.all([server[Symbol.asyncDispose](), kms[Symbol.asyncDispose]()]);
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  state.controller = new AbortController();
  state.notes.length = 0;
  server.fault = () => undefined;
  kms.fault = () => undefined;
});

const put = (name: string, ...more: string[]) => [
  "put",
  "-k",
  "a.jwk",
  "--part-size",
  "5M",
  ...more,
  name,
  "s3://bucket/new",
];
const isPart = ({ method, query }: S3Call): boolean => method === "PUT" && query.has("partNumber");
const isBegin = ({ method, query }: S3Call): boolean => method === "POST" && query.has("uploads");
const isEnd = ({ method, query }: S3Call): boolean => method === "POST" && query.has("uploadId");
const isRead = ({ method }: S3Call): boolean => method === "GET";
const isHead = ({ method }: S3Call): boolean => method === "HEAD";
const silent: S3Fault = { kind: "stall" };
const silentBody: S3Fault = { kind: "stall-body", at: 300_000 };

/** Where a command waits: its arguments, and the call of S3 that is not answered. */
const stages: Readonly<
  Record<string, { args: readonly string[]; at: (call: S3Call) => boolean; fault?: S3Fault }>
> = {
  "put: the object": { args: put("small"), at: ({ method }) => method === "PUT" },
  "put: the beginning of an upload": { args: put("long"), at: isBegin },
  "put: the first part": {
    args: put("long"),
    at: (call) => isPart(call) && call.query.get("partNumber") === "1",
  },
  "put: the last part": {
    args: put("long"),
    at: (call) => isPart(call) && call.query.get("partNumber") === "3",
  },
  "put: the end of an upload": { args: put("long"), at: isEnd },
  "put: a command after its first part": {
    args: [
      "put",
      "-k",
      "a.jwk",
      "--part-size",
      "5M",
      "--from-command",
      "cat long; sleep 60",
      "s3://bucket/new",
    ],
    at: isPart,
    fault: { kind: "stall", ms: 1 },
  },
  "get: the object": { args: ["get", "-k", "a.jwk", "s3://bucket/long", "out"], at: isRead },
  "get: its body": { args: ["get", "-k", "a.jwk", "s3://bucket/long", "out"], at: isRead, fault: silentBody },
  "cat: its beginning": {
    args: ["cat", "-k", "a.jwk", "--range", "9000000-9000099", "s3://bucket/long"],
    at: isRead,
  },
  "cat: the range": {
    args: ["cat", "-k", "a.jwk", "--range", "9000000-9000099", "s3://bucket/long"],
    at: (call) => isRead(call) && !`${call.headers.range}`.startsWith("bytes=0-"),
  },
  "verify: the body": { args: ["verify", "-k", "a.jwk", "s3://bucket/long"], at: isRead, fault: silentBody },
  "inspect: the head": { args: ["inspect", "s3://bucket/long"], at: isHead },
  "inspect: the header": { args: ["inspect", "s3://bucket/long"], at: isRead },
  "rewrap: the head": {
    args: ["rewrap", "--from", "a.jwk", "--to", "b.jwk", "s3://bucket/long"],
    at: isHead,
  },
  "rewrap: the body": {
    args: ["rewrap", "--from", "a.jwk", "--to", "b.jwk", "s3://bucket/long"],
    at: isRead,
    fault: silentBody,
  },
  "rewrap: a part": { args: ["rewrap", "--from", "a.jwk", "--to", "b.jwk", "s3://bucket/long"], at: isPart },
  "policy: the answer": { args: ["policy", "bucket", "--show"], at: isRead },
};

async function expectNothingLeft(action: () => Promise<void>): Promise<void> {
  const files = readdirSync(folder).sort();
  const objects = new Map(server.buckets.get(Bucket));
  await action();
  expect(readdirSync(folder).sort()).toEqual(files);
  expect(new Map(server.buckets.get(Bucket))).toEqual(objects);
  await vi.waitFor(() => expect(server.uploads.size).toBe(0));
}

const late = () => Object.assign(new Error("the time is up"), { name: "UsageError" });
const placed = (args: readonly string[]): string[] =>
  args.map((arg) =>
    /^([ab]\.jwk|small|long|out)$/.test(arg) ? file(arg) : arg.replace("cat long", `cat ${file("long")}`),
  );

describe("ends while it waits for", () => {
  test.each(Object.entries(stages))("%s", async (_name, { args, at, fault = silent }) => {
    await expectNothingLeft(async () => {
      let isThere = false;
      server.fault = (call) => {
        if (!at(call)) return undefined;
        isThere = true;
        return fault;
      };
      const running = run([...placed(args), "--endpoint", server.endpoint]);
      await vi.waitFor(() => expect(isThere).toBe(true), { timeout: 20_000 });
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(state.notes).toEqual([]);
      const before = performance.now();
      state.controller.abort(late());
      const code = await running;
      expect({ code, notes: state.notes.length }).toEqual({ code: 1, notes: 1 });
      expect(performance.now() - before).toBeLessThan(10_000);
    });
  });

  test.each(["encrypt", "put"])("%s: KMS", async (command) => {
    await expectNothingLeft(async () => {
      kms.fault = () => ({ kind: "silence" });
      const target = command === "put" ? ["s3://bucket/new"] : ["-o", "out"];
      const args = [command, "--kms", kmsKey, "small", ...target, "--kms-endpoint", kms.url];
      const calls = kms.calls.length;
      const running = run([...placed(args), ...(command === "put" ? ["--endpoint", server.endpoint] : [])]);
      await vi.waitFor(() => expect(kms.calls.length).toBeGreaterThan(calls), { timeout: 20_000 });
      state.controller.abort(late());
      expect(await running).toBe(1);
    });
  });
});

describe.skipIf(process.platform === "win32")("in a process of its own", () => {
  const start = (args: readonly string[], more: object = {}) =>
    frameseal([...args, "--endpoint", server.endpoint], { cwd: folder, env: environment, ...more });

  test("a time limit ends a download that drips, and names the host", () =>
    expectNothingLeft(async () => {
      server.fault = () => ({ kind: "drip", pieces: 2000, ms: 20 });
      const { code, stderr } = await start([
        "get",
        "-k",
        "a.jwk",
        "--timeout",
        "2s",
        "s3://bucket/long",
        "out",
      ]);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: `frameseal: not done within 2 s (--timeout); the last one asked was ${new URL(server.endpoint).host}\n`,
      });
    }));

  test("a time limit ends an upload whose part is not taken", () =>
    expectNothingLeft(async () => {
      server.fault = (call) => (isPart(call) ? silent : undefined);
      const { code, stderr } = await start([
        "put",
        "-k",
        "a.jwk",
        "--timeout",
        "3",
        "--part-size",
        "5M",
        "long",
        "s3://bucket/new",
      ]);
      expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("(--timeout)") });
    }));

  test("a time limit ends a producer that says nothing", () =>
    expectNothingLeft(async () => {
      const { PassThrough } = await import("node:stream");
      const stdin = new PassThrough();
      const { code, stderr } = await start(["put", "-k", "a.jwk", "--timeout", "2", "-", "s3://bucket/new"], {
        stdin,
      });
      expect({ code, stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("no service was asked yet"),
      });
    }));

  test.each([
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const)("%s ends a download in its body", (signal, exitCode) =>
    expectNothingLeft(async () => {
      server.fault = () => silentBody;
      const calls = server.calls.length;
      const { code, stderr } = await start(["get", "-k", "a.jwk", "s3://bucket/long", "out"], {
        onStart: (child: { kill(signal: string): void }) =>
          void vi
            .waitFor(() => expect(server.calls.length).toBeGreaterThan(calls), { timeout: 20_000 })
            .then(() => child.kill(signal)),
      });
      expect({ code, stderr }).toEqual({ code: exitCode, stderr: "" });
    }),
  );

  test("what is stored is still what it was", () => {
    expect(readFileSync(file("long")).length).toBe(12_000_000);
    expect(server.buckets.get(Bucket)?.has("new")).toBe(false);
  });
});
