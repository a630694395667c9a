// AWS's Encryption SDKs that messages are exchanged with. The one for JavaScript works in this process, the others are
// programs (test/interop/peers/esdk-*) that answer one line of JSON with another.
import { readFileSync } from "node:fs";
import path from "node:path";
import type { CommitmentPolicy } from "../../src/index.ts";
import { javascriptSdk } from "./esdk-javascript.ts";
import type { PeerKey } from "./esdk-keys.ts";
import { PeerProcess } from "./programs.ts";

/** Those with a key derivation, which are written here too. */
export const suitesWrittenHere = [0x0114, 0x0146, 0x0178, 0x0214, 0x0346, 0x0378, 0x0478, 0x0578];
export const suites = [...suitesWrittenHere, 0x0014, 0x0046, 0x0078];

/** The policy under which `suite` may be written, and read. */
export function policyFor(suite: number): CommitmentPolicy {
  return suite >= 0x0400 ? "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" : "FORBID_ENCRYPT_ALLOW_DECRYPT";
}

/** How a message is written. */
export interface Writing {
  readonly keys: readonly PeerKey[];
  readonly policy: CommitmentPolicy;
  readonly suite: number;
  readonly context: Readonly<Record<string, string>>;
  /** 0 asks for a message without frames. */
  readonly frameLength: number;
  readonly plaintext: Buffer;
}

/** What reading a message needs. */
export interface Reading {
  readonly keys: readonly PeerKey[];
  readonly policy: CommitmentPolicy;
  readonly message: Buffer;
}

/** One SDK. Every method rejects with what the SDK says. */
export interface Esdk extends AsyncDisposable {
  version(): Promise<string>;
  encrypt(writing: Writing): Promise<Buffer>;
  decrypt(reading: Reading): Promise<{ plaintext: Buffer; context: Readonly<Record<string, string>> }>;
}

/** An SDK behind a program. */
export class EsdkProgram implements Esdk {
  readonly #process: PeerProcess;

  constructor(name: string, command: string, args: readonly string[] = []) {
    this.#process = new PeerProcess(name, command, args);
  }

  /** @throws Error with what the program said */
  ask(operation: string, question: object = {}): Promise<Record<string, unknown>> {
    return this.#process.ask({ operation, ...question });
  }
  async version(): Promise<string> {
    const { version } = await this.ask("version");
    return String(version).replace(/^v/, "");
  }
  async encrypt({ plaintext, ...writing }: Writing): Promise<Buffer> {
    const { message } = await this.ask("encrypt", { ...writing, plaintext: plaintext.toString("base64") });
    return Buffer.from(String(message), "base64");
  }
  async decrypt({ message, ...reading }: Reading) {
    const answer = await this.ask("decrypt", { ...reading, message: message.toString("base64") });
    // One of them says nothing of an empty plaintext.
    const plaintext = Buffer.from(String(answer.plaintext ?? ""), "base64");
    return { plaintext, context: answer.context as Readonly<Record<string, string>> };
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

const cache = process.env.FRAMESEAL_PEER_CACHE ?? "";
const sources = process.env.FRAMESEAL_PEER_SOURCES ?? "";
const prepared = new Set((process.env.FRAMESEAL_ESDK_PEERS ?? "").trim().split(/\s+/));

/** AWS's Python SDK, which also answers what other tests ask of Python. */
export function startPython(): EsdkProgram {
  const python = path.join(cache, "esdk_python/venv/bin/python");
  return new EsdkProgram("Python", python, [path.join(sources, "esdk-python/peer.py")]);
}

function startJava(): EsdkProgram {
  const classes = path.join(cache, "esdk_java/target/classes");
  const classpath = readFileSync(path.join(cache, "esdk_java/classpath"), "utf8").trim();
  return new EsdkProgram("Java", "java", ["-cp", `${classes}:${classpath}`, "EsdkPeer"]);
}

/** An SDK and what is special about it. */
export interface EsdkEntry {
  readonly name: string;
  /** Undefined where its program could not be built. */
  readonly start: (() => Esdk) | undefined;
  readonly inThisProcess?: true;
  readonly writesWithoutFrames?: true;
  /** Its program is only built on request. */
  readonly onRequest?: true;
}

const whenPrepared = (name: string, start: () => Esdk) => (prepared.has(name) ? start : undefined);
const program = (name: string, file: string) => () => new EsdkProgram(name, path.join(cache, file));

export const esdks: readonly EsdkEntry[] = [
  { name: "JavaScript", start: () => javascriptSdk, inThisProcess: true },
  { name: "Python", start: whenPrepared("python", startPython), writesWithoutFrames: true },
  { name: "Java", start: whenPrepared("java", startJava), writesWithoutFrames: true },
  { name: "Go", start: whenPrepared("go", program("Go", "esdk_go/peer")) },
  {
    name: "Rust",
    start: whenPrepared("rust", program("Rust", "esdk_rust/target/debug/esdk-peer")),
    onRequest: true,
  },
];
