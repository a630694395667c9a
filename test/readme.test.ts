// Every example of the README runs: shell blocks as one script, JavaScript blocks as modules. Blocks that speak to S3 get
// a strict server on loopback, over TLS, and a KMS; the one for users of another package is only parsed.
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeKms } from "./support/fake-kms.ts";
import { credentials, S3Server } from "./support/s3-server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);
const readme = await readFile(path.join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```(sh|js)( s3| example)?\n(.*?)^```$/gms)].map((match, index) => ({
  name: `${index + 1}, ${match[1]}${match[2] ?? ""}`,
  language: match[1],
  kind: match[2]?.trim(),
  code: match[3] ?? "",
}));

let folder: string;
let server: S3Server;
let kms: FakeKms;
let kmsKeyId: string;
let kmsEndpoint: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-readme-"));
  await symlink(path.join(root, "node_modules"), path.join(folder, "node_modules"));
  const program = path.join(folder, "frameseal");
  await writeFile(
    program,
    `#!/bin/sh\nexec "${process.execPath}" "${path.join(root, "dist/cli/main.js")}" "$@"\n`,
  );
  await chmod(program, 0o755);
  server = await S3Server.start();
  await writeFile(path.join(folder, "loopback.pem"), server.certificate);
  await server.client().send(new CreateBucketCommand({ Bucket: "backups" }));
  kms = await FakeKms.start();
  kmsKeyId = kms.createKey("us-east-1");
  const { hostname, port } = (await kms.client().config.endpoint?.()) ?? {};
  kmsEndpoint = `http://${hostname}:${port}`;
}, 60_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await kms[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const environment = () => ({
  ...process.env,
  PATH: `${folder}${path.delimiter}${process.env.PATH}`,
  AWS_ACCESS_KEY_ID: credentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  AWS_REGION: "us-east-1",
  AWS_ENDPOINT_URL_S3: server.secureEndpoint,
  AWS_ENDPOINT_URL_KMS: kmsEndpoint,
  NODE_EXTRA_CA_CERTS: path.join(folder, "loopback.pem"),
  NODE_NO_WARNINGS: "1",
  XDG_STATE_HOME: path.join(folder, "state"),
});

describe("examples of the README", () => {
  test("are found", () => expect(blocks.length).toBeGreaterThanOrEqual(7));

  test.each(blocks)("$name", { timeout: 180_000 }, async ({ language, kind, code }) => {
    const cwd = await mkdtemp(path.join(folder, "example-"));
    await writeFile(path.join(cwd, "notes.txt"), "notes of the day, ".repeat(10_000));
    await mkdir(path.join(cwd, "photos/2026"), { recursive: true });
    await writeFile(path.join(cwd, "photos/2026/one.jpg"), "a picture");
    if (language === "sh") {
      const script =
        kind === "s3" ? code.replace(/^(.*s3:\/\/.*)$/gm, `$1 --endpoint ${server.secureEndpoint}`) : code;
      await run("sh", ["-ec", script], { cwd, env: environment(), maxBuffer: 2 ** 24 });
      const [copy, original] = /\bget -r /.test(code)
        ? ["restored/2026/one.jpg", "photos/2026/one.jpg"]
        : ["copy.txt", "notes.txt"];
      expect(await readFile(path.join(cwd, copy))).toEqual(await readFile(path.join(cwd, original)));
      return;
    }
    const file = path.join(cwd, "example.mjs");
    // Examples name the package; here it is the repository. The server has no host names for buckets.
    const local = code
      .replace(
        /from "frameseal(?:\/(\w+))?"/g,
        (_all, entry) => `from ${JSON.stringify(path.join(root, "dist", `${entry ?? "index"}.js`))}`,
      )
      .replaceAll("new S3Client({})", "new S3Client({ forcePathStyle: true })")
      .replace(/(generatorKeyId = ")arn:[^"]+/, `$1${kmsKeyId}`);
    await writeFile(file, local);
    const { stdout } = await run(process.execPath, kind === "example" ? ["--check", file] : [file], {
      cwd,
      env: environment(),
    });
    if (kind !== "example") expect(stdout).not.toBe("");
  });
});
