// Runs of the real command line on a small tree, which can be killed: a source, a bucket and a target for each, and what
// must hold afterwards.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { keyringFromKeyFile } from "../../src/index.ts";
import { encryptS3Client } from "../../src/s3.ts";
import { NonceLog } from "./nonce-log.ts";
import type { S3Server } from "./s3-server.ts";

export const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
export const environment: Readonly<Record<string, string>> = {
  NODE_NO_WARNINGS: "1",
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
  AWS_REGION: "us-east-1",
  AWS_CONFIG_FILE: "/dev/null",
  AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
};

/** Parts of the least length that S3 takes. */
const PART_LENGTH = 5 * 2 ** 20;
const LARGE_LENGTH = 2 * PART_LENGTH + 12_345;
const HANG_MS = 60_000;

export interface Outcome {
  /** null after a signal; `hang` when it was killed because it did not end. */
  readonly code: number | null | "hang";
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** What may happen while a process runs. */
export interface Watching {
  /** Called when it runs; may kill it. */
  readonly onStart?: ((child: ReturnType<typeof spawn>) => void) | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** A program that runs Node in its place, with arguments. */
  readonly through?: readonly string[] | undefined;
}

/** A folder with a source, and a bucket. */
export class TreeRun {
  readonly server: S3Server;
  readonly folder: string;
  readonly bucket: string;

  constructor(server: S3Server, root: string, bucket: string) {
    this.server = server;
    this.folder = mkdtempSync(path.join(root, `${bucket}-`));
    this.bucket = bucket;
    server.buckets.set(bucket, new Map());
    for (const name of ["a.jwk", "b.jwk"]) {
      const k = createHash("sha256").update(name).digest("base64url");
      writeFileSync(path.join(this.folder, name), JSON.stringify({ kty: "oct", kid: name, k }), {
        mode: 0o600,
      });
    }
    this.write("tree/a.txt", "first");
    this.write("tree/sub/b.txt", "second");
    this.write("tree/sub/deep/c.log", "third, and longer");
    this.write("tree/large.bin", contentOf(this.folder, LARGE_LENGTH));
    mkdirSync(path.join(this.folder, "tree/empty"));
  }

  /** Writes a file that was changed long ago, so that times tell of each later change. */
  write(name: string, content: string | Uint8Array, time = new Date("2024-05-06T07:08:09.123Z")): void {
    const file = path.join(this.folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    utimesSync(file, time, time);
  }

  get address(): string {
    return `s3://${this.bucket}/tree/`;
  }

  /** Runs `frameseal` here. */
  async run(args: readonly string[], { onStart, env, through = [] }: Watching = {}): Promise<Outcome> {
    const begun = Date.now();
    const command = [...through, process.execPath, program, ...args, "--endpoint", this.server.endpoint];
    const child = spawn(command[0] ?? "", command.slice(1), {
      cwd: this.folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment, XDG_STATE_HOME: path.join(this.folder, "state"), ...env },
    });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
    onStart?.(child);
    let hangs = false;
    const timer = setTimeout(() => {
      hangs = true;
      child.kill("SIGKILL");
    }, HANG_MS);
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    clearTimeout(timer);
    return {
      code: hangs ? "hang" : code,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
      milliseconds: Date.now() - begun,
    };
  }

  /** What puts bucket, journals and target back as they are now. The source must not be changed meanwhile. */
  snapshot(): () => void {
    const folders = ["state", "out"].map((name) => path.join(this.folder, name));
    const objects = new Map(this.server.buckets.get(this.bucket));
    const kept = path.join(this.folder, "kept");
    for (const folder of folders)
      if (existsSync(folder))
        cpSync(folder, path.join(kept, path.basename(folder)), { recursive: true, preserveTimestamps: true });
    return () => {
      this.server.buckets.set(this.bucket, new Map(objects));
      for (const [id, { bucket }] of this.server.uploads)
        if (bucket === this.bucket) this.server.uploads.delete(id);
      for (const folder of folders) {
        rmSync(folder, { recursive: true, force: true });
        const copy = path.join(kept, path.basename(folder));
        if (existsSync(copy)) cpSync(copy, folder, { recursive: true, preserveTimestamps: true });
      }
    };
  }

  /** Uploads that are not complete. */
  get uploads(): string[] {
    return [...this.server.uploads.values()]
      .filter(({ bucket }) => bucket === this.bucket)
      .map(({ key }) => key);
  }

  /** Files that a run made for itself and has not removed. */
  get leftovers(): string[] {
    const all = readdirSync(this.folder, { recursive: true, encoding: "utf8" }).filter(
      (name) => !name.startsWith("kept"),
    );
    const isOfRuns =
      /(^|\/)(state\/.*(-wal|-shm|-journal|\.lock|\.owner.*|\.new.*)|(.*\/)?\..*(tmp|partial|frameseal)[^/]*)$/;
    return all.filter((name) => isOfRuns.test(name));
  }

  /** What the bucket holds, opened: paths with digests of their plaintext. */
  async stored(key = "a.jwk"): Promise<Record<string, string>> {
    const { keyring } = await keyringFromKeyFile(path.join(this.folder, key)).then((keyring) => ({
      keyring,
    }));
    const client = encryptS3Client(this.server.client(), { keyring });
    const found: Record<string, string> = {};
    for (const name of this.server.buckets.get(this.bucket)?.keys() ?? []) {
      if (name.includes("/.frameseal/")) continue;
      const { Body } = await client.send(new GetObjectCommand({ Bucket: this.bucket, Key: name }));
      found[name.replace(/^tree\//, "")] = digestOf((await Body?.transformToByteArray()) ?? new Uint8Array());
    }
    return found;
  }

  /** The tree below a folder, as `stored` has it. What is missing is empty. */
  files(name = "tree"): Record<string, string> {
    const root = path.join(this.folder, name);
    if (!existsSync(root)) return {};
    const found: Record<string, string> = {};
    for (const each of readdirSync(root, { recursive: true, encoding: "utf8" })) {
      const file = path.join(root, each);
      const stats = lstatSync(file);
      if (stats.isSymbolicLink()) found[each] = digestOf(Buffer.from(readlinkSync(file)));
      else if (stats.isFile()) found[each] = digestOf(readFileSync(file));
      else if (readdirSync(file).length === 0) found[`${each}/`] = digestOf(new Uint8Array());
    }
    return found;
  }

  /** Whatever has a final name, and not the content of the source. */
  partial(name: string): string[] {
    const source = this.files();
    return Object.entries(this.files(name))
      .filter(
        ([file, digest]) =>
          !/(^|\/)\.[^/]*(tmp|partial|frameseal)/.test(file) &&
          !file.endsWith("/") &&
          source[file] !== digest,
      )
      .map(([file]) => file);
  }
}

/** A server's log of nonces, and folders that are removed at the end. */
export class TreeRuns implements Disposable {
  readonly server: S3Server;
  readonly nonces = new NonceLog();
  readonly #root = mkdtempSync(path.join(tmpdir(), "frameseal-trees-"));
  #count = 0;

  constructor(server: S3Server) {
    this.server = server;
    server.onBody = (call, body) => this.nonces.take(call, body);
  }

  /** A place of its own for one case. */
  next(): TreeRun {
    this.#count += 1;
    return new TreeRun(this.server, this.#root, `bucket${this.#count}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** Bytes that do not repeat, and are the same for the same name. */
export function contentOf(name: string, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let block = createHash("sha512").update(name).digest();
  for (let at = 0; at < length; at += block.length) {
    block.copy(bytes, at);
    if (at % 4096 === 0) block = createHash("sha512").update(block).digest();
  }
  return bytes;
}

const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Commands that are killed: what is there before, their arguments, and what is there at the end. */
export interface TreeCommand {
  readonly name: string;
  readonly args: (run: TreeRun) => readonly string[];
  readonly before?: (run: TreeRun) => Promise<void>;
  /** Where files appear that must never be there in part. */
  readonly target?: string;
  /** The key that opens the bucket in the end. */
  readonly key?: string;
}

const putArgs = ({ address }: TreeRun): string[] => [
  "put",
  "-r",
  "-k",
  "a.jwk",
  "--part-size",
  "5M",
  "tree",
  address,
];
const filled = async (run: TreeRun): Promise<void> => {
  const { code, stderr } = await run.run(putArgs(run));
  if (code !== 0) throw new Error(`put: ${code} ${stderr}`);
};

export const treeCommands: readonly TreeCommand[] = [
  { name: "put -r", args: putArgs },
  {
    name: "sync to S3",
    before: async (run) => {
      await filled(run);
      run.write("tree/a.txt", "changed", new Date("2024-06-06"));
      run.write("tree/large.bin", contentOf("other", LARGE_LENGTH), new Date("2024-06-06"));
      run.write("tree/new.txt", "new");
      rmSync(path.join(run.folder, "tree/sub/b.txt"));
    },
    args: ({ address }) => ["sync", "--delete", "-k", "a.jwk", "--part-size", "5M", "tree", address],
  },
  {
    name: "get -r",
    before: filled,
    args: ({ address }) => ["get", "-r", "-k", "a.jwk", address, "out"],
    target: "out",
  },
  {
    name: "sync from S3",
    before: async (run) => {
      await filled(run);
      run.write("out/gone.txt", "not in the bucket");
      run.write("out/a.txt", "older, and longer", new Date("2020-01-01"));
    },
    args: ({ address }) => ["sync", "--delete", "-k", "a.jwk", address, "out"],
    target: "out",
  },
  {
    name: "rewrap -r",
    before: filled,
    args: ({ address }) => ["rewrap", "-r", "--from", "a.jwk", "--to", "b.jwk", address],
    key: "b.jwk",
  },
];

/** What is wrong once a command has ended well. */
export async function complaintsOf(run: TreeRun, command: TreeCommand): Promise<string[]> {
  const complaints: string[] = [];
  const source = JSON.stringify(sorted(run.files()));
  const there =
    command.target === undefined ? await run.stored(command.key).catch(String) : run.files(command.target);
  const found = typeof there === "string" ? there : JSON.stringify(sorted(there));
  if (found !== source) complaints.push(`trees differ: ${found} in place of ${source}`);
  if (run.uploads.length > 0) complaints.push(`uploads left: ${run.uploads.join()}`);
  const hidden = [...(run.server.buckets.get(run.bucket)?.keys() ?? [])].filter(
    (key) => key.startsWith("tree/.frameseal/") && !/^tree\/\.frameseal\/runs\/[0-9]{8}$/.test(key),
  );
  if (hidden.length > 0) complaints.push(`hidden objects left: ${hidden.join()}`);
  if (run.leftovers.length > 0) complaints.push(`files left: ${run.leftovers.join()}`);
  return complaints;
}

const sorted = (tree: Readonly<Record<string, string>>) =>
  Object.entries(tree).sort(([a], [b]) => (a < b ? -1 : 1));
