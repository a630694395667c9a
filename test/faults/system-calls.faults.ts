// Every system call of encrypt, decrypt, put and get fails once, does half of its work once, and is once the last thing
// that the process does. Whatever it is: no name ever leads to a part of a file; the old file or object is there until
// the new one is complete; exit code 0 means complete and right; a failure says what stands; nothing hangs or crashes;
// nothing is left behind, or the next run removes it.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CreateBucketCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encrypt, type Keyring, keyringFromKeyFile } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { FULL } from "../support/full.ts";
import { S3Server } from "../support/s3-server.ts";
import { type CallPoint, isOfModules, pointsOf } from "./call-points.ts";
import { compileFailCalls } from "./compile-fail-calls.ts";
import { type Operation, operationsOn, type Place, type Standing } from "./operations.ts";
import { randomFrom, sampleOf } from "./samples.ts";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** Another seed tries other calls. */
const seed = Number(process.env.FRAMESEAL_SEED ?? 21);
/** Runs at a time. */
const SLOTS = Number(process.env.FRAMESEAL_SLOTS ?? 3);
const HANG_MS = 20_000;
/** Runs of an operation in a sample: with calls upon its own files and connections, and while it loads its modules. */
const SAMPLE = { own: 20, modules: 3 };

const root = mkdtempSync(path.join(tmpdir(), "frameseal-calls-"));
const library = compileFailCalls(root);
if (library === undefined) console.log("system calls: not run: no compiler for a library to preload");

const ran = { tried: 0, reached: 0, failed: 0, violations: [] as string[] };
let server: S3Server;
let keyring: Keyring;
const places: Place[] = [];
let operations: readonly Operation[] = [];

beforeAll(async () => {
  server = await S3Server.start();
  const key = path.join(root, "key.jwk");
  const k = randomBytes(32).toString("base64url");
  writeFileSync(key, JSON.stringify({ kty: "oct", kid: "k", k }), { mode: 0o600 });
  keyring = await keyringFromKeyFile(key, { keyNamespace: "frameseal" });
  const plaintext = randomBytes(2_500_000);
  const client = server.client();
  const encrypting = encryptS3Client(client, { keyring });
  const put = async (bucket: string, Body: Uint8Array) => {
    await encrypting.send(new PutObjectCommand({ Bucket: bucket, Key: "object", Body }));
    return server.object(bucket, "object");
  };
  for (let slot = 0; slot < SLOTS; slot++) {
    const folder = path.join(root, `slot-${slot}`);
    mkdirSync(folder);
    places.push({ folder, bucket: `slot-${slot}`, server, keyring });
    await client.send(new CreateBucketCommand({ Bucket: `slot-${slot}` }));
  }
  operations = operationsOn({
    plaintext,
    message: await encrypt(plaintext, { keyring }),
    large: randomBytes(20_000_000),
    oldFile: randomBytes(100_000),
    objects: { old: await put("slot-0", randomBytes(1000)), object: await put("slot-0", plaintext) },
  });
});
afterAll(async () => {
  const { tried, reached, failed, violations } = ran;
  console.log(
    `system calls: ${tried} failing calls, ${reached} reached, ${failed} runs failed, ${violations.length} wrong, seed ${seed}`,
  );
  await server[Symbol.asyncDispose]();
  rmSync(root, { recursive: true });
});

interface Outcome {
  readonly code: number | "hang";
  readonly stderr: string;
  readonly hit: boolean;
  readonly log: string;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Runs an operation in a place that it has for itself, with `point` failing. */
async function runIn(place: Place, operation: Operation, point?: CallPoint): Promise<Outcome> {
  const { folder } = place;
  const log = `${folder}.log`;
  const errors = `${folder}.err`;
  for (const file of [log, errors]) rmSync(file, { force: true });
  const environment: Record<string, string> = {
    LD_PRELOAD: library ?? "",
    FAIL_FROM: `/${operation.command}.js`,
    FAIL_LOG: log,
    ...(point === undefined ? {} : { FAIL_CALL: `${point.name}:${point.number}`, FAIL_WITH: point.how }),
  };
  const set = Object.entries(environment).map(([name, value]) => `${name}=${quoted(value)}`);
  const args = [operation.command, "-k", "../key.jwk", ...operation.options(place)];
  const command = ["env", ...set, process.execPath, program, ...args.map(quoted)].join(" ");
  // Pipes of the shell are pipes, those of Node are sockets.
  const line = [
    operation.stdin === undefined ? "" : `cat ${operation.stdin} |`,
    `${command} 2>${quoted(errors)}`,
    operation.stdout === undefined ? "" : `| cat >${operation.stdout}`,
    `; exit \${PIPESTATUS[${operation.stdin === undefined ? 0 : 1}]}`,
  ].join(" ");
  const child = spawn("bash", ["-c", line], {
    cwd: folder,
    stdio: ["ignore", "ignore", "ignore"],
    detached: true,
    env: {
      ...process.env,
      NODE_NO_WARNINGS: "1",
      AWS_ACCESS_KEY_ID: "a",
      AWS_SECRET_ACCESS_KEY: "b",
      AWS_REGION: "us-east-1",
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      ...operation.environment,
    },
  });
  let hangs = false;
  const timer = setTimeout(() => {
    hangs = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL"); // the shell and all that it started
  }, HANG_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  clearTimeout(timer);
  const logged = existsSync(log) ? readFileSync(log, "utf8") : "";
  return {
    code: hangs ? "hang" : (code ?? -1),
    stderr: existsSync(errors) ? readFileSync(errors, "utf8") : "",
    hit: logged.includes("hit "),
    log: logged,
  };
}

function prepare(place: Place, operation: Operation): void {
  rmSync(place.folder, { recursive: true });
  mkdirSync(place.folder);
  server.buckets.get(place.bucket)?.clear();
  for (const [id, upload] of server.uploads) if (upload.bucket === place.bucket) server.uploads.delete(id);
  operation.before(place);
}

/** What lies there that nobody asked for. */
function leftovers({ folder, bucket }: Place): string[] {
  const files = readdirSync(folder).filter((name) => name !== "in" && name !== "out");
  const uploads = [...server.uploads.values()].filter((upload) => upload.bucket === bucket);
  return [...files, ...uploads.map(() => "an upload")];
}

const saysComplete = (stderr: string): boolean => /is complete under its name|is stored/.test(stderr);

function complaintsAbout(
  operation: Operation,
  point: CallPoint,
  { code, stderr, hit }: Outcome,
  standing: Standing,
  left: readonly string[],
): string[] {
  const complaints: string[] = [];
  const killed = point.how.startsWith("kill") && hit;
  const toPipe = operation.stdout !== undefined;
  if (killed ? code !== 137 : code !== 0 && code !== 1 && !(code === 141 && point.label === "EPIPE"))
    complaints.push(`exit code ${code}`);
  // What reads a pipe has got a beginning when an operation fails.
  if (standing === "wrong" && !(toPipe && code !== 0)) complaints.push("what stands is wrong");
  if (code === 0 && standing !== "new") complaints.push(`success, and what stands is ${standing}`);
  const untold = left.filter((name) => !stderr.includes(name));
  if (!killed && untold.length > 0) complaints.push(`left behind: ${untold.join(", ")}`);
  if (killed) return complaints;
  if (code === 0) {
    if (stderr !== "" && !saysComplete(stderr)) complaints.push("success, and a text");
    return complaints;
  }
  if (!/^frameseal: [^\n]+\n$/.test(stderr)) complaints.push("not one line");
  if (/internal error|nknown (system )?error|\n\s+at /.test(stderr)) complaints.push("text of a defect");
  if (standing === "new" && !toPipe && !saysComplete(stderr)) complaints.push("failed, yet it stands");
  return complaints;
}

function violate(text: string): void {
  console.log(text);
  ran.violations.push(text);
}

async function tryPoint(place: Place, operation: Operation, point: CallPoint): Promise<void> {
  prepare(place, operation);
  const outcome = await runIn(place, operation, point);
  const standing = await operation.standing(place);
  const complaints = complaintsAbout(operation, point, outcome, standing, leftovers(place));
  ran.tried += 1;
  if (outcome.hit) ran.reached += 1;
  if (outcome.code !== 0) ran.failed += 1;
  if (outcome.code === 137 && operation.stdout === undefined && !operation.command.startsWith("p")) {
    // The next run does what this one has not, and removes what it left.
    if (standing === "new" && !operation.options(place).includes("--force"))
      rmSync(path.join(place.folder, "out"));
    const next = await runIn(place, operation);
    const after = await operation.standing(place);
    if (next.code !== 0 || after !== "new") complaints.push(`the next run: ${next.code}, ${next.stderr}`);
    const left = leftovers(place);
    if (left.length > 0) complaints.push(`left behind by the next run too: ${left.join(", ")}`);
  }
  const { name, number, label, target } = point;
  for (const complaint of complaints)
    violate(
      `${operation.name}: ${name} ${number} ${label} (${target.replace(/^.*\/(?=slot|dist|node_modules)/, "")}): ` +
        `${complaint}; ${outcome.code}, ${standing}: ${outcome.stderr.trim().slice(0, 400)}`,
    );
}

/** One way for each call: what Node does while it loads code is one thing many times. */
function oneOfEach(points: readonly CallPoint[], random: () => number): CallPoint[] {
  const calls = new Map<string, CallPoint[]>();
  for (const point of points) {
    const call = `${point.name} ${point.number}`;
    calls.set(call, [...(calls.get(call) ?? []), point]);
  }
  return [...calls.values()].flatMap((ways) => sampleOf(ways, 1, random));
}

function chosenFrom(points: readonly CallPoint[], random: () => number): readonly CallPoint[] {
  const own = points.filter((point) => !isOfModules(point));
  const modules = points.filter(isOfModules);
  if (FULL) return [...own, ...oneOfEach(modules, random)];
  return [...sampleOf(own, SAMPLE.own, random), ...sampleOf(modules, SAMPLE.modules, random)];
}

describe.skipIf(library === undefined)("a system call that fails", () => {
  test("ends in one of the ways that are allowed", async () => {
    const random = randomFrom(seed);
    const only = process.env.FRAMESEAL_ONLY;
    for (const operation of operations.filter(({ name }) => only === undefined || name.includes(only))) {
      const [place] = places;
      if (place === undefined) throw new Error("no place");
      prepare(place, operation);
      const whole = await runIn(place, operation);
      expect({ ...whole, log: "" }, operation.name).toEqual({ code: 0, stderr: "", hit: false, log: "" });
      expect(await operation.standing(place)).toBe("new");
      const points = pointsOf(whole.log);
      expect(points.length, operation.name).toBeGreaterThan(50);
      const chosen = [...chosenFrom(points, random)];
      const before = ran.violations.length;
      const count = chosen.length;
      await Promise.all(
        places.map(async (each) => {
          for (let point = chosen.pop(); point !== undefined; point = chosen.pop())
            await tryPoint(each, operation, point);
        }),
      );
      console.log(
        `${operation.name}: ${count} of ${points.length} (${points.filter(isOfModules).length} while code is loaded), ` +
          `${ran.violations.length - before} wrong`,
      );
    }
    expect(ran.reached).toBeGreaterThan(ran.tried / 2);
    expect(ran.violations, `seed ${seed}`).toEqual([]);
  });
});
