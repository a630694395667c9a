// Encrypted objects against the same transfer without encryption, and against Amazon's clients for Java and Python on the
// same object and server. Each figure comes from a process of its own; rounds take turns.
//   node bench/scripts/s3.mjs [--size MiB] [--rounds N] [--only WORDS] [--rgw] [--peers] [--json FILE]
// The server is s3-store.mjs, which does nothing but store; with --rgw it is Ceph's (Debian's radosgw). --peers needs what
// `npm run test:integration` has built; Amazon's clients read from a file and write to one.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const MIB = 2 ** 20;
const self = fileURLToPath(import.meta.url);
const here = path.dirname(self);
const Bucket = "bench";
const keyId = "arn:aws:kms:us-east-1:111122223333:key/11111111-1111-1111-1111-111111111111";
const environment = {
  ...process.env,
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
  AWS_REGION: "us-east-1",
  AWS_DEFAULT_REGION: "us-east-1",
  NODE_NO_WARNINGS: "1",
};

/** Ceph's server takes no checksums in trailers; its user is that of the integration tests. */
const rgwEnvironment = {
  ...environment,
  AWS_ACCESS_KEY_ID: "testing",
  AWS_SECRET_ACCESS_KEY: "testing",
  AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED",
  AWS_RESPONSE_CHECKSUM_VALIDATION: "WHEN_REQUIRED",
};
/** What framed objects may cost: time against the transfer without encryption, and memory. */
const MAX_RATIO = 1.1;
const MAX_MEBIBYTES = 250;

/** What one process does. Encryption is by KMS, which Amazon's Python client demands. */
async function measure(what, endpoint, kmsEndpoint, mebibytes) {
  const { S3Client, DeleteObjectCommand, GetObjectCommand, PutObjectCommand } = await import(
    "@aws-sdk/client-s3"
  );
  const { KMSClient } = await import("@aws-sdk/client-kms");
  const { Upload } = await import("@aws-sdk/lib-storage");
  const { encryptS3Client } = await import("../../dist/s3.js");
  const { KmsKeyring } = await import("../../dist/kms.js");
  const plain = new S3Client({ endpoint, forcePathStyle: true });
  const keyring = new KmsKeyring({ client: new KMSClient({ endpoint: kmsEndpoint }), generatorKeyId: keyId });
  const encrypting = (options) => encryptS3Client(plain, { keyring, format: "s3ec-v3", ...options });
  const chunk = Buffer.alloc(MIB, 0x5a);
  let left = mebibytes;
  const Body = Readable.from(
    (function* () {
      for (; left > 0; left--) yield chunk;
    })(),
    { objectMode: false, highWaterMark: MIB },
  );
  const download = async (client, Key) => {
    const output = await client.send(new GetObjectCommand({ Bucket, Key }));
    let length = 0;
    const count = (piece, _encoding, done) => {
      length += piece.length;
      done();
    };
    await pipeline(output.Body, new Writable({ write: count, highWaterMark: MIB }));
    if (length !== mebibytes * MIB) throw new Error(`${length} bytes came out`);
  };
  const works = {
    "put plain": () =>
      new Upload({
        client: plain,
        partSize: 8 * MIB,
        queueSize: 4,
        params: { Bucket, Key: "plain", Body },
      }).done(),
    "put s3ec-v3": () => encrypting().send(new PutObjectCommand({ Bucket, Key: "s3ec", Body })),
    "put framed": () =>
      encrypting({ format: "framed" }).send(new PutObjectCommand({ Bucket, Key: "framed", Body })),
    "get plain": () => download(plain, "plain"),
    "get s3ec-v3, delayed": () => download(encrypting({ authentication: "delayed" }), "s3ec"),
    "get s3ec-v3, two-pass": () => download(encrypting({ authentication: "two-pass" }), "s3ec"),
    "get framed": () => download(encrypting(), "framed"),
  };
  for (const Key of ["plain", "s3ec", "framed"])
    works[`delete ${Key}`] = () => plain.send(new DeleteObjectCommand({ Bucket, Key }));
  const start = performance.now();
  await works[what]();
  const seconds = (performance.now() - start) / 1000;
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  console.log(
    JSON.stringify({ seconds, cpu: (userCPUTime + systemCPUTime) / 1e6, mebibytes: maxRSS / 1024 }),
  );
}

/** Amazon's clients, through the programs of the integration tests. */
async function measurePeer(name, endpoint, op, file) {
  const cache = path.join(here, "../../node_modules/.cache/frameseal-integration");
  const command =
    name === "python"
      ? [
          path.join(cache, "s3ec_python/venv/bin/python"),
          path.join(here, "../../test/interop/peers/python/peer.py"),
        ]
      : [
          "java",
          "-cp",
          `${path.join(cache, "s3ec_java/target/classes")}:${readFileSync(path.join(cache, "s3ec_java/classpath"), "utf8").trim()}`,
          "Peer",
        ];
  const child = spawn(command[0], command.slice(1), {
    env: { ...environment, AWS_ENDPOINT_URL_S3: endpoint, AWS_ENDPOINT_URL_KMS: endpoint },
    stdio: ["pipe", "pipe", "ignore"],
  });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ask = async (question) => {
    child.stdin.write(`${JSON.stringify(question)}\n`);
    const answer = JSON.parse((await answers.next()).value);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  const material = { kind: "kms", keyId };
  const common = {
    bucket: Bucket,
    suite: "v3",
    policy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
    material,
    delayed: true,
  };
  const start = performance.now();
  await ask({ op, key: op === "put" ? `by ${name}` : "s3ec", file, multipart: true, ...common });
  const seconds = (performance.now() - start) / 1000;
  const { cpu } = await ask({ op: "usage" });
  const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
  const mebibytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  child.stdin.end();
  return { seconds, cpu, mebibytes };
}

function option(name, fallback) {
  const at = process.argv.indexOf(name);
  return at < 0 ? fallback : process.argv[at + 1];
}
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

/** A server in a process of its own, which ends with its standard input. */
async function startServer(command, args) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const { value: endpoint } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  if (endpoint === undefined) throw new Error(`${path.basename(args.at(-1))} did not start`);
  const stop = async () => {
    child.stdin.end();
    await ended;
  };
  return { endpoint, stop };
}

async function main() {
  const mebibytes = Number(option("--size", 1024));
  const rounds = Number(option("--rounds", 3));
  const onRgw = process.argv.includes("--rgw");
  const store = await startServer(process.execPath, [
    "--max-old-space-size=8192",
    path.join(here, "s3-store.mjs"),
  ]);
  const rgw = onRgw
    ? await startServer("bash", [path.join(here, "../../test/integration/start-rgw.sh")])
    : undefined;
  const endpoint = rgw?.endpoint ?? store.endpoint;
  const env = onRgw ? rgwEnvironment : environment;
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-bench-"));
  const file = path.join(folder, "body");
  // Each kind by itself, so that a server in memory holds one object at a time.
  const own = [
    ...["put plain", "get plain", "delete plain"],
    ...["put framed", "get framed", "delete framed"],
    ...["put s3ec-v3", "get s3ec-v3, delayed", "get s3ec-v3, two-pass"],
  ];
  const words = option("--only", "").split(",");
  const chosen = own.filter((name) => name.includes("plain") || words.some((word) => name.includes(word)));
  const peers = process.argv.includes("--peers") && !onRgw ? ["java", "python"] : [];
  const results = new Map();
  const add = (name, result) => results.set(name, [...(results.get(name) ?? []), result]);
  const run = (what) => {
    const args = [self, "--measure", what, endpoint, store.endpoint, String(mebibytes)];
    return JSON.parse(execFileSync(process.execPath, args, { env, encoding: "utf8" }));
  };
  try {
    if (onRgw) await createBucket(endpoint);
    for (let round = 0; round < rounds; round++) {
      for (const what of chosen) {
        const result = run(what);
        if (!what.startsWith("delete")) add(what, result);
      }
      for (const peer of peers)
        for (const op of ["put", "get"]) {
          if (op === "put") writeFileSync(file, Buffer.alloc(mebibytes * MIB, 0x5a));
          add(`${op} by Amazon's client for ${peer}`, await measurePeer(peer, endpoint, op, file));
        }
      if (chosen.includes("put s3ec-v3")) run("delete s3ec");
    }
  } finally {
    await Promise.all([store.stop(), rgw?.stop()]);
    if (existsSync(folder)) rmSync(folder, { recursive: true });
  }
  report(results, { mebibytes, rounds, server: onRgw ? "Ceph RGW" : "s3-store.mjs" });
}

async function createBucket(endpoint) {
  const { S3Client, CreateBucketCommand } = await import("@aws-sdk/client-s3");
  const credentials = { accessKeyId: "testing", secretAccessKey: "testing" };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket }));
  client.destroy();
}

function report(results, { mebibytes, rounds, server }) {
  const rows = [...results].map(([name, list]) => ({
    name,
    seconds: median(list.map(({ seconds }) => seconds)),
    cpu: median(list.map(({ cpu }) => cpu)),
    mebibytes: Math.max(...list.map((each) => each.mebibytes)),
  }));
  const baseOf = (name) => rows.find((row) => row.name === `${name.slice(0, 3)} plain`);
  console.log(
    `${server}, ${mebibytes} MiB, ${rounds} rounds, medians; ${cpus()[0].model}, ${cpus().length} CPUs, Node ${process.version}`,
  );
  console.log("                                          wall s    ratio    CPU s    peak MiB");
  for (const { name, seconds, cpu, mebibytes: peak } of rows) {
    const ratio = seconds / baseOf(name).seconds;
    const missed =
      name.includes("framed") && (ratio > MAX_RATIO || peak > MAX_MEBIBYTES)
        ? `  misses ${MAX_RATIO.toFixed(2)} or ${MAX_MEBIBYTES} MiB`
        : "";
    console.log(
      `${name.padEnd(40)} ${seconds.toFixed(2).padStart(7)} ${ratio.toFixed(2).padStart(8)} ${cpu.toFixed(2).padStart(8)} ${peak.toFixed(0).padStart(11)}${missed}`,
    );
  }
  const out = option("--json");
  if (out !== undefined)
    writeFileSync(out, `${JSON.stringify({ server, mebibytes, rounds, rows }, null, 2)}\n`);
}

const [, , mode, what, endpoint, kmsEndpoint, size] = process.argv;
if (mode === "--measure") await measure(what, endpoint, kmsEndpoint, Number(size));
else await main();
