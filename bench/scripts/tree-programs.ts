// What each program is told to store a tree, to store it again and to restore it, with as many requests in flight.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { packageFolder } from "../packages.ts";
import { cleanEnvironment, measure } from "./measured-process.ts";
import { BUCKET, USER } from "./tree-server.ts";

/** One program, with everything it keeps in a folder of its own. */
export interface TreeProgram {
  readonly name: string;
  readonly env: NodeJS.ProcessEnv;
  /** What is made once, and not counted. */
  prepare(endpoint: string, prefix: string): Promise<void>;
  put(endpoint: string, prefix: string, source: string): readonly string[];
  get(endpoint: string, prefix: string, source: string, target: string): readonly string[];
}

const TRANSFERS = "64";
const services = { AWS_ACCESS_KEY_ID: USER, AWS_SECRET_ACCESS_KEY: USER, AWS_REGION: "us-east-1" };

/** This package. */
export function frameseal(folder: string): TreeProgram {
  const main = path.join(packageFolder, "dist/cli/main.js");
  const key = path.join(folder, "bench.key");
  const env = cleanEnvironment({ ...services, XDG_STATE_HOME: folder, NODE_NO_WARNINGS: "1" });
  const common = (endpoint: string): string[] => [
    ...["-r", "--key", key, "--endpoint", endpoint, "--transfers", TRANSFERS],
    "--no-progress",
  ];
  return {
    name: "frameseal",
    env,
    async prepare() {
      mkdirSync(folder, { recursive: true });
      await measure([process.execPath, main, "keygen", "-o", key], env, [0, 1]); // 1: it is there
    },
    put: (endpoint, prefix, source) => [
      ...[process.execPath, main, "put", ...common(endpoint)],
      ...[source, `s3://${BUCKET}/${prefix}/`],
    ],
    get: (endpoint, prefix, _source, target) => [
      ...[process.execPath, main, "get", ...common(endpoint)],
      ...[`s3://${BUCKET}/${prefix}/`, target],
    ],
  };
}

/** `rclone copy` through a crypt remote that leaves names as they are. */
export function rclone(program: string, folder: string): TreeProgram {
  const config = path.join(folder, "rclone.conf");
  const env = cleanEnvironment({ RCLONE_CONFIG: config, XDG_CACHE_HOME: folder });
  const flags = ["--transfers", TRANSFERS, "--checkers", TRANSFERS, "--fast-list", "--retries", "1"];
  return {
    name: "rclone",
    env,
    async prepare(endpoint, prefix) {
      mkdirSync(folder, { recursive: true });
      const s3 = ["[s3]", "type = s3", "provider = Other", `access_key_id = ${USER}`];
      s3.push(`secret_access_key = ${USER}`, `endpoint = ${endpoint}`, "no_check_bucket = true");
      // "frameseal" as rclone obscures it with a fixed beginning: a password of no secrecy.
      const crypt = ["[sealed]", "type = crypt", `remote = s3:${BUCKET}/${prefix}`];
      crypt.push("filename_encryption = off", "directory_name_encryption = false", "suffix = none");
      writeFileSync(config, `${[...s3, ...crypt].join("\n")}\n`, { mode: 0o600 });
      await measure([program, "config", "update", "sealed", "password", "frameseal", "--obscure"], env);
    },
    put: (_endpoint, _prefix, source) => [program, "copy", ...flags, source, "sealed:"],
    get: (_endpoint, _prefix, _source, target) => [program, "copy", ...flags, "sealed:", target],
  };
}

/** `restic backup` without compression, since nothing of the trees compresses. */
export function restic(program: string, folder: string): TreeProgram {
  const env = cleanEnvironment({ ...services, RESTIC_PASSWORD: "frameseal", RESTIC_CACHE_DIR: folder });
  const common = (endpoint: string, prefix: string): string[] => [
    ...["--repo", `s3:${endpoint}/${BUCKET}/${prefix}`, "--option", `s3.connections=${TRANSFERS}`],
    ...["--option", "s3.bucket-lookup=path", "--quiet"],
  ];
  return {
    name: "restic",
    env,
    async prepare(endpoint, prefix) {
      mkdirSync(folder, { recursive: true });
      await measure([program, "init", ...common(endpoint, prefix)], env);
    },
    put: (endpoint, prefix, source) => [
      ...[program, "backup", ...common(endpoint, prefix), "--compression", "off", source],
    ],
    get: (endpoint, prefix, source, target) => [
      ...[program, "restore", `latest:${source}`, ...common(endpoint, prefix), "--target", target],
    ],
  };
}
