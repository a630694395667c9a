// Encrypted objects against the same transfer without encryption, and against Amazon's clients for Java and Python on the
// same object and server. Each figure comes from a process of its own; rounds take turns.
//   npm run bench:s3 -- [--size MiB] [--rounds N] [--only WORDS] [--rgw] [--peers] [--json FILE]
// The server does nothing but store; with --rgw it is Ceph's (Debian's radosgw). --peers needs what
// `npm run test:integration` has built; Amazon's clients read from a file and write to one.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { packageFolder } from "../packages.ts";
import { median } from "../statistics.ts";
import { WorkFiles } from "../work-files.ts";
import { type AmazonClient, type Cost, transferByAmazon } from "./amazon-client.ts";

const MiB = 2 ** 20;
const transferProgram = fileURLToPath(new URL("./s3-transfer.js", import.meta.url));
/** Encryption is by KMS, which Amazon's Python client demands. */
const environment = {
  ...process.env,
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
  AWS_REGION: "us-east-1",
  AWS_DEFAULT_REGION: "us-east-1",
  NODE_NO_WARNINGS: "1",
};
/** Ceph's server takes no checksums in trailers; its user is that of the integration tests. */
const rgwUser = { accessKeyId: "testing", secretAccessKey: "testing" };
const rgwEnvironment = {
  ...environment,
  AWS_ACCESS_KEY_ID: rgwUser.accessKeyId,
  AWS_SECRET_ACCESS_KEY: rgwUser.secretAccessKey,
  AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED",
  AWS_RESPONSE_CHECKSUM_VALIDATION: "WHEN_REQUIRED",
};
/** What framed objects may cost: time against the transfer without encryption, and memory. */
const MAX_RATIO = 1.1;
const MAX_MEBIBYTES = 250;
/** Each kind by itself, so that a server in memory holds one object at a time. */
const steps = [
  ...["put plain", "get plain", "delete plain"],
  ...["put framed", "get framed", "delete framed"],
  ...["put s3ec-v3", "get s3ec-v3, delayed", "get s3ec-v3, two-pass"],
];

const { values: options } = parseArgs({
  options: {
    size: { type: "string", default: "1024" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    rgw: { type: "boolean", default: false },
    peers: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const mebibytes = countOf("size", options.size);
const rounds = countOf("rounds", options.rounds);

function countOf(name: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  process.stderr.write(`--${name} expected a whole number from 1\n`);
  process.exit(2);
}

/** Ceph's server, which ends with its standard input, and a bucket in it. */
async function startRgw(): Promise<{ readonly endpoint: string; end(): Promise<void> }> {
  const script = path.join(packageFolder, "test/integration/start-rgw.sh");
  const child = spawn("bash", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const end = async (): Promise<void> => {
    child.stdin.end();
    await closed;
  };
  const { value: endpoint } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (typeof endpoint !== "string") throw new Error("Ceph's server does not start");
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: rgwUser });
  await client.send(new CreateBucketCommand({ Bucket: "bench" }));
  client.destroy();
  return { endpoint, end };
}

async function measureAll(): Promise<ReadonlyMap<string, readonly Cost[]>> {
  const words = options.only.split(",");
  const chosen = steps.filter((step) => step.includes("plain") || words.some((word) => step.includes(word)));
  const peers: readonly AmazonClient[] = options.peers && !options.rgw ? ["java", "python"] : [];
  const files = new WorkFiles();
  const results = new Map<string, Cost[]>();
  const add = (name: string, cost: Cost): void => {
    results.set(name, [...(results.get(name) ?? []), cost]);
  };
  let rgw: Awaited<ReturnType<typeof startRgw>> | undefined;
  try {
    const store = await files.store();
    rgw = options.rgw ? await startRgw() : undefined;
    const endpoint = rgw?.endpoint ?? store;
    const env = rgw === undefined ? environment : rgwEnvironment;
    const run = (step: string): Cost => {
      const args = [transferProgram, step, endpoint, store, String(mebibytes)];
      return JSON.parse(execFileSync(process.execPath, args, { env, encoding: "utf8" })) as Cost;
    };
    const file = files.path("body");
    const peerEnvironment = { ...environment, AWS_ENDPOINT_URL_S3: store, AWS_ENDPOINT_URL_KMS: store };
    for (let round = 0; round < rounds; round++) {
      for (const step of chosen) {
        const cost = run(step);
        if (!step.startsWith("delete")) add(step, cost);
      }
      for (const peer of peers) {
        writeFileSync(file, Buffer.alloc(mebibytes * MiB, 0x5a));
        const name = `by Amazon's client for ${peer}`;
        add(`put ${name}`, await transferByAmazon(peer, "put", `by ${peer}`, file, peerEnvironment));
        add(`get ${name}`, await transferByAmazon(peer, "get", "s3ec", file, peerEnvironment));
      }
      if (chosen.includes("put s3ec-v3")) run("delete s3ec-v3");
    }
  } finally {
    files.remove();
    await rgw?.end();
  }
  return results;
}

function report(results: ReadonlyMap<string, readonly Cost[]>): void {
  const server = options.rgw ? "Ceph RGW" : "a store in memory";
  const rows = [...results].map(([name, costs]) => ({
    name,
    seconds: median(costs.map(({ seconds }) => seconds)),
    cpuSeconds: median(costs.map(({ cpuSeconds }) => cpuSeconds)),
    mebibytes: Math.max(...costs.map((cost) => cost.mebibytes)),
  }));
  const cpu = cpus();
  console.log(
    `${server}, ${mebibytes} MiB, ${rounds} rounds, medians; ${cpu[0]?.model}, ${cpu.length} CPUs, Node ${process.version}`,
  );
  console.log("                                          wall s    ratio    CPU s    peak MiB");
  for (const row of rows) {
    const plain = rows.find(({ name }) => name === `${row.name.slice(0, 3)} plain`);
    const ratio = row.seconds / (plain?.seconds ?? Number.NaN);
    const missed =
      row.name.includes("framed") && (ratio > MAX_RATIO || row.mebibytes > MAX_MEBIBYTES)
        ? `  misses ${MAX_RATIO.toFixed(2)} or ${MAX_MEBIBYTES} MiB`
        : "";
    console.log(
      `${row.name.padEnd(40)} ${row.seconds.toFixed(2).padStart(7)} ${ratio.toFixed(2).padStart(8)} ${row.cpuSeconds.toFixed(2).padStart(8)} ${row.mebibytes.toFixed(0).padStart(11)}${missed}`,
    );
  }
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify({ server, mebibytes, rounds, rows }, null, 2)}\n`);
}

report(await measureAll());
