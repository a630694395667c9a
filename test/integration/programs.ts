// The other side: the service, AWS's Python command line, and programs that answer questions.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KMSClient } from "@aws-sdk/client-kms";

const here = path.dirname(fileURLToPath(import.meta.url));

function demanded(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is missing: run npm run test:integration`);
  return value;
}
const python = demanded("FRAMESEAL_PYTHON");
export const kmsEndpoint = demanded("FRAMESEAL_KMS_ENDPOINT");
export const region = "us-east-1";
export const kmsCredentials = { accessKeyId: "testing", secretAccessKey: "testing" };

/** What programs of AWS need to find the service. */
export const environment = {
  ...process.env,
  AWS_ACCESS_KEY_ID: kmsCredentials.accessKeyId,
  AWS_SECRET_ACCESS_KEY: kmsCredentials.secretAccessKey,
  AWS_DEFAULT_REGION: region,
  AWS_REGION: region,
  AWS_ENDPOINT_URL_KMS: kmsEndpoint,
  PYTHONPATH: path.join(here, "plugin"),
  PYTHONWARNINGS: "ignore",
};

export const kmsClient = new KMSClient({ endpoint: kmsEndpoint, region, credentials: kmsCredentials });

/** Runs AWS's command line; returns what it wrote to standard output. */
export async function awsEncryptionCli(args: readonly string[]): Promise<string> {
  const program = path.join(python, "aws-encryption-cli");
  const { stdout } = await promisify(execFile)(program, [...args], { env: environment });
  return stdout;
}

/** A program that answers one line of JSON with another. */
export class PeerProcess implements AsyncDisposable {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #input: Writable;
  readonly #answers: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(name: string, command: string, args: readonly string[], more: Record<string, string> = {}) {
    this.name = name;
    const log = process.env.FRAMESEAL_PEER_LOG === "1" ? "inherit" : "ignore";
    const child = spawn(command, args, { env: { ...environment, ...more }, stdio: ["pipe", "pipe", log] });
    this.#process = child;
    this.#input = child.stdin as Writable;
    this.#answers = createInterface(child.stdout as Readable)[Symbol.asyncIterator]();
  }

  /** Questions are answered in order. @throws Error with what the program said */
  ask(question: object): Promise<Record<string, unknown>> {
    const asked = this.#last.then(async () => {
      this.#input.write(`${JSON.stringify(question)}\n`);
      const { value, done } = await this.#answers.next();
      if (done) throw new Error(`${this.name}: the process has ended`);
      const answer = JSON.parse(value) as Record<string, unknown>;
      if (answer.error !== undefined) throw new Error(`${this.name}: ${answer.error}`);
      return answer;
    });
    this.#last = asked.catch(() => {});
    return asked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("close", resolve));
    this.#input.end();
    await ended;
  }
}
