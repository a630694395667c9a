// S3 Encryption Client objects against the same transfer without encryption, and against Amazon's clients for Java and
// Python on the same object and server. Each figure comes from a process of its own; rounds take turns.
//   node bench/s3ec.mjs [--size MiB] [--rounds N] [--peers] [--json FILE]
// --peers needs what `npm run test:integration` has built; Amazon's clients read from a file and write to one.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
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

/** What one process does. Encryption is by KMS, which Amazon's Python client demands. */
async function measure(what, endpoint, mebibytes) {
  const { S3Client, GetObjectCommand, PutObjectCommand } = await import("@aws-sdk/client-s3");
  const { KMSClient } = await import("@aws-sdk/client-kms");
  const { Upload } = await import("@aws-sdk/lib-storage");
  const { encryptS3Client } = await import("../dist/s3.js");
  const { KmsKeyring } = await import("../dist/kms.js");
  const plain = new S3Client({ endpoint, forcePathStyle: true });
  const keyring = new KmsKeyring({ client: new KMSClient({ endpoint }), generatorKeyId: keyId });
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
    for await (const piece of output.Body) length += piece.length;
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
  const cache = path.join(here, "../node_modules/.cache/frameseal-integration");
  const command =
    name === "python"
      ? [
          path.join(cache, "s3ec_python/venv/bin/python"),
          path.join(here, "../test/interop/peers/python/peer.py"),
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

async function main() {
  const mebibytes = Number(option("--size", 1024));
  const rounds = Number(option("--rounds", 3));
  const store = spawn(process.execPath, ["--max-old-space-size=8192", path.join(here, "s3-store.mjs")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const endpoint = (await createInterface(store.stdout)[Symbol.asyncIterator]().next()).value;
  const folder = mkdtempSync(path.join(tmpdir(), "frameseal-bench-"));
  const file = path.join(folder, "body");
  const own = [
    ...["put plain", "put s3ec-v3", "put framed"],
    ...["get plain", "get s3ec-v3, delayed", "get s3ec-v3, two-pass", "get framed"],
  ];
  const peers = process.argv.includes("--peers") ? ["java", "python"] : [];
  const results = new Map();
  const add = (name, result) => results.set(name, [...(results.get(name) ?? []), result]);
  try {
    for (let round = 0; round < rounds; round++) {
      for (const what of own) {
        const args = [self, "--measure", what, endpoint, String(mebibytes)];
        add(what, JSON.parse(execFileSync(process.execPath, args, { env: environment, encoding: "utf8" })));
      }
      for (const peer of peers)
        for (const op of ["put", "get"]) {
          if (op === "put") writeFileSync(file, Buffer.alloc(mebibytes * MIB, 0x5a));
          add(`${op} by Amazon's client for ${peer}`, await measurePeer(peer, endpoint, op, file));
        }
    }
  } finally {
    store.stdin.end();
    if (existsSync(folder)) rmSync(folder, { recursive: true });
  }
  const rows = [...results].map(([name, list]) => ({
    name,
    seconds: median(list.map(({ seconds }) => seconds)),
    cpu: median(list.map(({ cpu }) => cpu)),
    mebibytes: Math.max(...list.map((each) => each.mebibytes)),
  }));
  const row = (name) => rows.find((each) => each.name === name);
  console.log(
    `${mebibytes} MiB, ${rounds} rounds, medians; ${cpus()[0].model}, ${cpus().length} CPUs, Node ${process.version}`,
  );
  console.log("                                          wall s    ratio    CPU s    peak MiB");
  for (const { name, seconds, cpu, mebibytes: peak } of rows) {
    const base = row(name.startsWith("put") ? "put plain" : "get plain");
    const ratio = (seconds / base.seconds).toFixed(2);
    console.log(
      `${name.padEnd(40)} ${seconds.toFixed(2).padStart(7)} ${ratio.padStart(8)} ${cpu.toFixed(2).padStart(8)} ${peak.toFixed(0).padStart(11)}`,
    );
  }
  const out = option("--json");
  if (out !== undefined) writeFileSync(out, `${JSON.stringify({ mebibytes, rounds, rows }, null, 2)}\n`);
}

if (process.argv[2] === "--measure") await measure(process.argv[3], process.argv[4], Number(process.argv[5]));
else await main();
