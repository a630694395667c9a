// A real PostgreSQL database through `put --from-command`, back with `get` and with `cat`, and compared row by row; a dump
// that is killed in the middle replaces nothing. FRAMESEAL_POSTGRES_MB says how large it is, by default 50 (a backup
// worth the name: 1100). The server is Ceph's where it runs, and for dumps that fail the strict one of the tests.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { credentials, S3Server } from "../support/s3-server.ts";

const VERSIONS = "/usr/lib/postgresql";
const MB = 10 ** 6;
const wanted = Number(process.env.FRAMESEAL_POSTGRES_MB ?? 50) * MB;
/** Rows take about so many bytes of the database. */
const ROW_LENGTH = 170;
const programs = existsSync(VERSIONS)
  ? path.join(VERSIONS, readdirSync(VERSIONS).sort().at(-1) ?? "", "bin")
  : "";
const isThere = existsSync(path.join(programs, "postgres"));
const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

let folder: string;
let environment: NodeJS.ProcessEnv;
let server: S3Server;
let postgres: ReturnType<typeof spawn> | undefined;

/** It refuses to run as root. */
async function unprivileged(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const id = async (flag: string) => Number((await promisify(execFile)("id", [flag, "postgres"])).stdout);
  return { uid: await id("-u"), gid: await id("-g") };
}

/** Runs a program to its end. @returns what it printed */
async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args], { env: environment, cwd: folder });
  return stdout.trim();
}
const sql = (database: string, text: string): Promise<string> =>
  run(
    "psql",
    "--no-psqlrc",
    "--quiet",
    "--tuples-only",
    "--no-align",
    "--set=ON_ERROR_STOP=1",
    `--dbname=${database}`,
    `--command=${text}`,
  );

/** Runs frameseal, whatever becomes of it. */
async function frameseal(...args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    env: environment,
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stderr };
}

/** Number of rows, and a digest of all of them in their order. */
const contents = (database: string): Promise<string> =>
  sql(database, "SELECT count(*), md5(string_agg(md5(items::text), '' ORDER BY id)) FROM items");

beforeAll(async () => {
  if (!isThere) return;
  folder = mkdtempSync(path.join(tmpdir(), "frameseal-postgres-"));
  const data = path.join(folder, "data");
  const owner = await unprivileged();
  mkdirSync(data, { mode: 0o700 });
  if (owner.uid !== undefined && owner.gid !== undefined)
    for (const each of [folder, data]) chownSync(each, owner.uid, owner.gid);
  environment = {
    ...process.env,
    PATH: `${programs}:${process.env.PATH}`,
    PGHOST: folder,
    PGUSER: "owner",
    AWS_REGION: "us-east-1",
    XDG_STATE_HOME: folder,
    NODE_NO_WARNINGS: "1",
  };
  const init = spawn(
    path.join(programs, "initdb"),
    ["--auth=trust", "--username=owner", "--no-sync", "--encoding=UTF8", "--locale=C", `--pgdata=${data}`],
    { ...owner, env: environment, stdio: "ignore", cwd: folder },
  );
  expect((await once(init, "close"))[0]).toBe(0);
  const settings = ["listen_addresses=", `unix_socket_directories=${folder}`, "fsync=off", "autovacuum=off"];
  settings.push("full_page_writes=off", "synchronous_commit=off", "max_wal_size=4GB");
  postgres = spawn(
    path.join(programs, "postgres"),
    ["-D", data, ...settings.flatMap((each) => ["-c", each])],
    {
      ...owner,
      env: environment,
      stdio: "ignore",
      cwd: folder,
    },
  );
  for (;;) {
    const { status } = await run("pg_isready").then(
      () => ({ status: 0 }),
      () => ({ status: 1 }),
    );
    if (status === 0) break;
    if (postgres.exitCode !== null) throw new Error("PostgreSQL does not start");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  server = await S3Server.start();
  await server.client().send(new CreateBucketCommand({ Bucket: "dumps" }));
  await run("createdb", "shop");
  await sql(
    "shop",
    `CREATE TABLE items AS SELECT id, md5(id::text) || md5((id * 7)::text) || md5((id * 13)::text) AS label,
       id::numeric / 7 AS price, CASE WHEN id % 5 = 0 THEN NULL ELSE 'ä€🙂' END AS note
     FROM generate_series(1, ${Math.ceil(wanted / ROW_LENGTH)}) AS id;
     ALTER TABLE items ADD PRIMARY KEY (id);`,
  );
  await frameseal("keygen", "-o", "backup.key");
}, 600_000);
afterAll(async () => {
  postgres?.kill("SIGINT");
  if (postgres?.exitCode === null) await once(postgres, "close");
  await server?.[Symbol.asyncDispose]();
  if (isThere) rmSync(folder, { recursive: true });
});

test("PostgreSQL is there when it must be", () => {
  if (!isThere) console.log("PostgreSQL: not run (package postgresql)");
  expect(isThere || process.env.CI !== "true").toBe(true);
});

describe.runIf(isThere)("PostgreSQL", () => {
  /** Where a dump is stored, and how that is reached. */
  async function place(): Promise<{ readonly address: string; readonly options: readonly string[] }> {
    const ceph = process.env.FRAMESEAL_RGW_ENDPOINT;
    const user = ceph === undefined ? credentials : { accessKeyId: "testing", secretAccessKey: "testing" };
    Object.assign(environment, {
      AWS_ACCESS_KEY_ID: user.accessKeyId,
      AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
      ...(ceph === undefined ? {} : { AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED" }),
    });
    const endpoint = ceph ?? server.endpoint;
    if (ceph !== undefined) {
      const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: user });
      await client.send(new CreateBucketCommand({ Bucket: "dumps" }));
      client.destroy();
    }
    return { address: "s3://dumps/shop.dump", options: ["--key", "backup.key", "--endpoint", endpoint] };
  }

  test("dumps and restores a database, in a file and through a pipe", { timeout: 1_800_000 }, async () => {
    const { address, options } = await place();
    expect(Number(await sql("shop", "SELECT pg_database_size('shop')"))).toBeGreaterThan(wanted);
    const before = await contents("shop");
    expect(before).toMatch(/^\d{5,}\|[0-9a-f]{32}$/);
    const began = performance.now();
    expect(await frameseal("put", ...options, "--from-command", "pg_dump -Fc shop", address)).toEqual({
      code: 0,
      stderr: "",
    });
    const stored = performance.now();
    expect(await frameseal("get", ...options, address, "shop.dump")).toEqual({ code: 0, stderr: "" });
    const { size } = statSync(path.join(folder, "shop.dump"));
    await run("createdb", "restored");
    await run("pg_restore", "--exit-on-error", "--dbname=restored", "shop.dump");
    expect(await contents("restored")).toBe(before);
    rmSync(path.join(folder, "shop.dump"));
    await run("createdb", "piped");
    const command = [process.execPath, main, "cat", ...options, address].map((word) => `'${word}'`).join(" ");
    await run("bash", "-c", `set -o pipefail; ${command} | pg_restore --exit-on-error --dbname=piped`);
    expect(await contents("piped")).toBe(before);
    const seconds = ((stored - began) / 1000).toFixed(1);
    console.log(
      `PostgreSQL: ${before.split("|")[0]} rows, a dump of ${(size / MB).toFixed(0)} MB stored in ${seconds} s`,
    );
  });

  /** Ends a dump when its first part is on its way, and lets nothing arrive before. */
  async function ended(end: (dump: number) => Promise<void>): Promise<void> {
    Object.assign(environment, {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    });
    const options = ["--key", "backup.key", "--endpoint", server.endpoint];
    const address = "s3://dumps/nightly.dump";
    expect((await frameseal("put", ...options, "--from-command", "echo older", address)).code).toBe(0);
    const older = server.object("dumps", "nightly.dump");
    let isEnded: Promise<void> | undefined;
    server.delay = async ({ query }) => {
      if (!query.has("partNumber")) return;
      isEnded ??= end(Number(readFileSync(path.join(folder, "pid"), "utf8")));
      await isEnded;
    };
    // There is room for less than the dump has, so that it cannot have ended by itself.
    const small = ["--memory", "16M", "--part-size", "5M", "--spool-folder", "none"];
    const dump = "echo $$ > pid; exec pg_dump --format=custom --compress=0 shop";
    const { code, stderr } = await frameseal("put", ...options, ...small, "--from-command", dump, address);
    server.delay = async () => {};
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/command/) });
    expect(isEnded).toBeDefined();
    expect(server.object("dumps", "nightly.dump")).toBe(older);
    expect(server.uploads.size).toBe(0);
  }

  test("replaces nothing when the dump is killed", () =>
    ended(async (dump) => {
      process.kill(dump, "SIGKILL");
    }));

  test("replaces nothing when the database ends the connection", () =>
    ended(async () => {
      const text =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
      expect(await sql("shop", text)).toBe("t");
    }));
});
