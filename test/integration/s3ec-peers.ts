// Amazon's S3 Encryption Clients as processes that answer questions, one line of JSON each.
import { readFileSync } from "node:fs";
import path from "node:path";
import { credentials } from "../support/s3-server.ts";
import { PeerProcess } from "./programs.ts";

const cache = process.env.FRAMESEAL_PEER_CACHE ?? "";
const sources = process.env.FRAMESEAL_PEER_SOURCES ?? "";

/** The clients that could be built here. */
export const presentPeers: ReadonlySet<string> = new Set(
  (process.env.FRAMESEAL_S3EC_PEERS ?? "").trim().split(/\s+/),
);

/** A key as a peer is told of it. */
export type Material =
  | { readonly kind: "kms"; readonly keyId: string }
  | { readonly kind: "aes"; readonly key: string; readonly description?: Readonly<Record<string, string>> }
  | { readonly kind: "rsa"; readonly pkcs8: string; readonly description?: Readonly<Record<string, string>> };

/** What a peer is asked; see the programs. */
export interface Question {
  readonly bucket: string;
  readonly key: string;
  readonly file: string;
  readonly suite: "v2" | "v3";
  readonly policy: string;
  readonly material: Material;
  readonly context?: Readonly<Record<string, string>>;
  readonly [more: string]: unknown;
}

function commandOf(name: string): [string, string[]] {
  if (name === "python")
    return [path.join(cache, "s3ec_python/venv/bin/python"), [path.join(sources, "python/peer.py")]];
  if (name === "go") return [path.join(cache, "s3ec_go/peer"), []];
  const classpath = readFileSync(path.join(cache, "s3ec_java/classpath"), "utf8").trim();
  return ["java", ["-cp", `${path.join(cache, "s3ec_java/target/classes")}:${classpath}`, "Peer"]];
}

/** One client. */
export class S3ecPeer implements AsyncDisposable {
  readonly #process: PeerProcess;

  constructor(name: string, s3Endpoint: string) {
    const [command, args] = commandOf(name);
    this.#process = new PeerProcess(name, command, args, {
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_ENDPOINT_URL_S3: s3Endpoint,
      AWS_JAVA_V1_DISABLE_DEPRECATION_ANNOUNCEMENT: "true",
    });
  }

  /** Questions are answered in order. @throws Error with what the peer said */
  ask(op: string, question: Partial<Question> = {}): Promise<Record<string, unknown>> {
    return this.#process.ask({ op, ...question });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
