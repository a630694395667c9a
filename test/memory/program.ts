// The process whose memory is searched: does operations in one way after the other, and waits after each until somebody has
// looked. Says in PLAN.done what was done, with secrets masked.  usage: program.js PLAN
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { workerPool } from "../../src/engine/node/worker-pool.ts";
import { createEngine, encrypt, RawAesKeyring, RawRsaKeyring } from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";
import { S3Server } from "../support/s3-server.ts";
import { answeringClient } from "./kms-client.ts";
import { messageWays, type Setting } from "./message-ways.ts";
import { objectWays } from "./object-ways.ts";
import { type Noted, Watch } from "./watch.ts";

/** What to do. */
export interface Plan {
  readonly engine: string;
  /** Ways by name and how often each; searched after each group. */
  readonly groups: readonly (readonly (readonly [way: string, count: number])[])[];
  /** Keep a key of each operation on purpose. */
  readonly keep: boolean;
  readonly mask: string;
  readonly wrappingKey: string;
  /** In base64. */
  readonly uncommitted: readonly string[];
}

/** What was done since the last search. */
export type Done = readonly { readonly way: string; readonly noted: Noted }[];

const plan = JSON.parse(readFileSync(process.argv[2] as string, "utf8")) as Plan;
const watch = new Watch(Buffer.from(plan.mask, "hex"));
const folder = mkdtempSync(path.join(tmpdir(), "frameseal-memory-"));
const server = await S3Server.start();
await server.client().send(new CreateBucketCommand({ Bucket: "bucket" }));
const ways = { ...messageWays, ...objectWays(server) };

const wrappingKey = Buffer.from(plan.wrappingKey, "hex");
const keyNames = { keyNamespace: "n", keyName: "k" };
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const inner = createEngine(plan.engine);
const kept: Uint8Array[] = [];
const keeping = {
  ...inner,
  createKey(rawKey: Uint8Array) {
    kept.push(new Uint8Array(rawKey));
    return inner.createKey(rawKey);
  },
};
const setting: Setting = {
  engine: plan.keep ? keeping : plan.engine,
  keyring: new RawAesKeyring({ ...keyNames, wrappingKey }),
  wrongKeyring: new RawAesKeyring({ ...keyNames, wrappingKey: Buffer.alloc(32, 9) }),
  rsaKeyring: new RawRsaKeyring({ ...keyNames, padding: "OAEP-SHA-256", privateKey, publicKey }),
  kmsKeyring: new KmsKeyring({ generatorKeyId: answeringClient.keyId, client: answeringClient.make(watch) }),
  folder,
  uncommitted: plan.uncommitted.map((message) => Buffer.from(message, "base64")),
};

if (plan.engine === "node") {
  // So much work that there are worker threads, and they have started.
  await encrypt(Buffer.alloc(24 * 2 ** 20), { engine: "node", keyring: setting.keyring });
  for (let i = 0; i < 200 && !workerPool.isReady; i++) await sleep(10);
}
watch.take();

const names = Object.keys(ways);
for (const group of plan.groups) {
  const done: { way: string; noted: Noted }[] = [];
  for (const [way, count] of group)
    for (let i = 0; i < count; i++) {
      // A few operations meet all forms of their ways together.
      await ways[way]?.(setting, names.indexOf(way) + i).catch((error: unknown) => {
        throw new Error(`${way}, ${i}`, { cause: error });
      });
      done.push({ way, noted: watch.take() });
    }
  tell(done);
}
rmSync(folder, { recursive: true });
await server[Symbol.asyncDispose]();
// When the process is about to exit nothing is left either.
process.once("exit", () => tell([]));

function tell(done: Done): void {
  writeFileSync(`${process.argv[2]}.done`, JSON.stringify(done));
  writeSync(1, "\n");
  readSync(0, Buffer.alloc(1));
}
if (plan.keep && kept.length === 0) throw new Error("nothing was kept");
