// What stays small: peak memory of a long stream, and the time and packages that loading takes. Each figure comes from
// a process of its own.
//   node bench/limits.mjs [--size GiB]
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";

const MIB = 2 ** 20;
const self = fileURLToPath(import.meta.url);
const index = new URL("../dist/index.js", import.meta.url);

/** Seals zeros, opens them and counts them: prints the peak of resident memory as the system accounts it. */
async function stream(engine, gibibytes) {
  const { createDecryptStream, createEncryptStream, RawAesKeyring } = await import(index);
  const keyring = new RawAesKeyring({
    keyNamespace: "bench",
    keyName: "aes",
    wrappingKey: Buffer.alloc(32, 1),
  });
  const chunk = Buffer.alloc(256 * 1024);
  let left = gibibytes * 2 ** 30;
  const source = new Readable({
    read() {
      this.push(left > 0 ? chunk : null);
      left -= chunk.length;
    },
  });
  let length = 0;
  const sink = new Writable({
    write(bytes, _encoding, done) {
      length += bytes.length;
      done();
    },
  });
  const start = performance.now();
  await pipeline(
    source,
    createEncryptStream({ keyring, engine }),
    createDecryptStream({ keyring, engine }),
    sink,
  );
  const seconds = (performance.now() - start) / 1000;
  if (length !== gibibytes * 2 ** 30) throw new Error(`${length} bytes came out`);
  console.log(JSON.stringify({ seconds, mebibytes: Math.round(process.resourceUsage().maxRSS / 1024) }));
}

/** Time of an import over an empty process, and the packages it loads. */
async function load(name) {
  const start = performance.now();
  await import(name);
  const milliseconds = performance.now() - start;
  const files = Object.keys(createRequire(self).cache);
  const packages = new Set(
    files.map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean),
  );
  console.log(JSON.stringify({ milliseconds, packages: packages.size }));
}

function child(...args) {
  const env = { ...process.env, NODE_NO_WARNINGS: "1" };
  return JSON.parse(
    execFileSync(process.execPath, [self, "--child", ...args.map(String)], { encoding: "utf8", env }),
  );
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const at = process.argv.indexOf("--child");
if (at >= 0) {
  const [what, ...rest] = process.argv.slice(at + 1);
  await (what === "stream" ? stream(rest[0], Number(rest[1])) : load(rest[0]));
} else {
  const size = process.argv.indexOf("--size");
  const gibibytes = size < 0 ? 8 : Number(process.argv[size + 1]);
  for (const engine of ["node", "native"]) {
    const { seconds, mebibytes } = child("stream", engine, gibibytes);
    const rate = Math.round((gibibytes * 1024 * MIB) / seconds / 1e6);
    console.log(`${gibibytes} GiB sealed and opened, ${engine} engine: peak ${mebibytes} MiB, ${rate} MB/s`);
  }
  for (const name of [index.href, "@aws-crypto/client-node"]) {
    const runs = Array.from({ length: 9 }, () => child("load", name));
    const label = name === index.href ? "frameseal" : name;
    console.log(
      `loading ${label}: ${median(runs.map((run) => run.milliseconds)).toFixed(1)} ms, ${runs[0].packages} packages`,
    );
  }
}
