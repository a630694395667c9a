// A tree goes to each kind of server and comes back: put, again, changed, verified against its manifest, restored.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { run } from "../../../src/cli/program.ts";
import { observe } from "../../support/observed-command.ts";
import type { ServerKindName } from "../../support/s3-kinds.ts";
import { S3Server } from "../../support/s3-server.ts";

vi.mock("node:fs", async (original) => {
  const { observedFs } = await import("../../support/observed-command.ts");
  return observedFs(await original<typeof import("node:fs")>());
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-kinds-"));
  const k = Buffer.alloc(32, 9).toString("base64url");
  writeFileSync(path.join(folder, "key.jwk"), JSON.stringify({ kty: "oct", kid: "kinds", k }), {
    mode: 0o600,
  });
  vi.stubEnv("AWS_ACCESS_KEY_ID", "a");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "b");
  vi.stubEnv("AWS_REGION", "us-east-1");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", path.join(folder, "none"));
  vi.stubEnv("AWS_CONFIG_FILE", path.join(folder, "none"));
  vi.stubEnv("XDG_STATE_HOME", path.join(folder, "state"));
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

const large = Buffer.alloc(5.5 * 2 ** 20, "large "); // two parts

// Those that differ most: the others differ from them in what only the probe sees.
const kinds: readonly ServerKindName[] = ["aws", "ceph-rgw", "r2-like", "b2-like", "gateway-like"];

test.each(kinds)("%s", async (kind) => {
  await using server = await S3Server.start();
  server.buckets.set("b", new Map());
  server.kind = kind;
  const place = mkdtempSync(path.join(folder, "run-"));
  const source = path.join(place, "source");
  mkdirSync(path.join(source, "sub"), { recursive: true });
  mkdirSync(path.join(source, "empty"));
  const files: Record<string, Buffer> = { large };
  for (let i = 0; i < 12; i++) files[`sub/${i} ü`] = Buffer.from(`text ${i}`);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(path.join(source, name), bytes);
  const frameseal = async (...args: string[]) => {
    const common = ["-k", path.join(folder, "key.jwk"), "--endpoint", server.endpoint];
    const { code, stdout, stderr } = await observe(run, [...args, ...common]);
    expect([code, stderr], `${args.join(" ")}: ${stderr}`).toEqual([0, expect.anything()]);
    return stdout;
  };
  const sentSince = (first: number): string[] =>
    server.calls
      .slice(first)
      .filter(
        ({ method, key, query }) => method !== "GET" && method !== "HEAD" && key !== "" && !query.has("x"),
      )
      .map(({ method, key }) => `${method} ${key.replace(/probe-.*/, "probe")}`);

  const told = await frameseal("put", "-r", source, "s3://b/p", "--part-size", "5M", "--json");
  expect(told).toContain('"record":"server"');
  expect(server.uploads.size).toBe(0);
  let first = server.calls.length;
  await frameseal("put", "-r", source, "s3://b/p", "--part-size", "5M", "--quiet");
  expect(sentSince(first).filter((line) => !line.includes(".frameseal/"))).toEqual([]);
  files["sub/3 ü"] = Buffer.from("changed");
  writeFileSync(path.join(source, "sub/3 ü"), "changed");
  first = server.calls.length;
  await frameseal("put", "-r", source, "s3://b/p", "--part-size", "5M", "--quiet");
  expect(sentSince(first).filter((line) => !line.includes(".frameseal/"))).toEqual(["PUT p/sub/3 ü"]);
  await frameseal("verify", "-r", "s3://b/p", "--manifest", "latest", "--quiet");
  const target = path.join(place, "target");
  await frameseal("get", "-r", "s3://b/p", target, "--quiet");
  for (const [name, bytes] of Object.entries(files))
    expect(readFileSync(path.join(target, name)).equals(bytes), name).toBe(true);
});
