// Every example of the README runs: shell blocks as one script, JavaScript blocks as modules. Blocks that speak to S3
// get a server on loopback; the one for AWS KMS is only parsed, its behaviour is tested with the keyring.
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

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
let server: Awaited<ReturnType<typeof startFauxqs>>;
let endpoint: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "frameseal-readme-"));
  await symlink(path.join(root, "node_modules"), path.join(folder, "node_modules"));
  const program = path.join(folder, "frameseal");
  await writeFile(
    program,
    `#!/bin/sh\nexec "${process.execPath}" "${path.join(root, "dist/cli/main.js")}" "$@"\n`,
  );
  await chmod(program, 0o755);
  server = await startFauxqs({ port: 0, logger: false });
  endpoint = `http://127.0.0.1:${server.port}`;
  const credentials = { accessKeyId: "a", secretAccessKey: "b" };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket: "backups" }));
  client.destroy();
}, 60_000);

afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

const environment = () => ({
  ...process.env,
  PATH: `${folder}${path.delimiter}${process.env.PATH}`,
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
  AWS_REGION: "us-east-1",
  AWS_ENDPOINT_URL: endpoint,
  NODE_NO_WARNINGS: "1",
});

describe("examples of the README", () => {
  test("are found", () => expect(blocks.length).toBeGreaterThanOrEqual(7));

  test.each(blocks)("$name", { timeout: 60_000 }, async ({ language, kind, code }) => {
    const cwd = await mkdtemp(path.join(folder, "example-"));
    await writeFile(path.join(cwd, "notes.txt"), "notes of the day, ".repeat(10_000));
    if (language === "sh") {
      const script = kind === "s3" ? code.replace(/^(.*s3:\/\/.*)$/gm, `$1 --endpoint ${endpoint}`) : code;
      await run("sh", ["-ec", script], { cwd, env: environment(), maxBuffer: 2 ** 24 });
      expect(await readFile(path.join(cwd, "copy.txt"))).toEqual(await readFile(path.join(cwd, "notes.txt")));
      return;
    }
    const file = path.join(cwd, "example.mjs");
    // Examples name the package; here it is the repository. The server has no host names for buckets.
    const local = code
      .replace(
        /from "frameseal(?:\/(\w+))?"/g,
        (_all, entry) => `from ${JSON.stringify(path.join(root, "dist", `${entry ?? "index"}.js`))}`,
      )
      .replaceAll("new S3Client({})", "new S3Client({ forcePathStyle: true })");
    await writeFile(file, local);
    const { stdout } = await run(process.execPath, kind === "example" ? ["--check", file] : [file], {
      cwd,
      env: environment(),
    });
    if (kind !== "example") expect(stdout).not.toBe("");
  });
});
