// The other side: AWS's Python SDK as a process that answers questions, its command line, and keys in the service.
import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CreateKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import {
  type Keyring,
  MultiKeyring,
  RawAesKeyring,
  RawRsaKeyring,
  type RsaPadding,
} from "../../src/index.ts";
import { KmsKeyring } from "../../src/kms.ts";

const here = path.dirname(fileURLToPath(import.meta.url));

function demanded(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is missing: run npm run test:integration`);
  return value;
}
const python = demanded("FRAMESEAL_PYTHON");
export const kmsEndpoint = demanded("FRAMESEAL_KMS_ENDPOINT");
const region = "us-east-1";

/** What programs of AWS need to find the service. */
export const environment = {
  ...process.env,
  AWS_ACCESS_KEY_ID: "testing",
  AWS_SECRET_ACCESS_KEY: "testing",
  AWS_DEFAULT_REGION: region,
  AWS_REGION: region,
  AWS_ENDPOINT_URL_KMS: kmsEndpoint,
  PYTHONPATH: path.join(here, "plugin"),
  PYTHONWARNINGS: "ignore",
};

/** A key as the Python side is told of it. */
export type PeerKey =
  | { readonly kind: "kms"; readonly keyIds: readonly string[] }
  | { readonly kind: "aes"; readonly namespace: string; readonly name: string; readonly key: string }
  | {
      readonly kind: "rsa";
      readonly namespace: string;
      readonly name: string;
      readonly padding: RsaPadding;
      readonly privateKey: string;
    };

/** The same keys for both sides. */
export interface KeySet {
  readonly name: string;
  readonly keys: readonly PeerKey[];
  readonly keyring: Keyring;
  /** A keyring for each key alone: each must open what all have wrapped. */
  readonly alone: readonly Keyring[];
}

/** AWS's Python SDK. */
export class PythonSdk implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  constructor() {
    this.#process = spawn(path.join(python, "python"), [path.join(here, "peer.py")], {
      env: environment,
      stdio: ["pipe", "pipe", process.env.FRAMESEAL_PEER_LOG === "1" ? "inherit" : "ignore"],
    });
    const lines: Interface = createInterface(this.#process.stdout);
    this.#answers = lines[Symbol.asyncIterator]();
  }

  /** One question at a time. @throws Error with what Python said */
  async ask(operation: string, question: object = {}): Promise<Record<string, string>> {
    this.#process.stdin.write(`${JSON.stringify({ operation, ...question })}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the Python process has ended");
    const answer = JSON.parse(value);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("close", resolve));
    this.#process.stdin.end();
    await ended;
  }
}

/** Runs AWS's command line; returns what it wrote to standard output. */
export async function awsEncryptionCli(args: readonly string[]): Promise<string> {
  const program = path.join(python, "aws-encryption-cli");
  const { stdout } = await promisify(execFile)(program, [...args], { env: environment });
  return stdout;
}

export const kmsClient = new KMSClient({
  endpoint: kmsEndpoint,
  region,
  credentials: { accessKeyId: "testing", secretAccessKey: "testing" },
});

async function createKmsKey(): Promise<string> {
  const { KeyMetadata } = await kmsClient.send(new CreateKeyCommand({}));
  if (KeyMetadata?.Arn === undefined) throw new Error("the service made no key");
  return KeyMetadata.Arn;
}

function kms(keyIds: readonly string[]): [PeerKey, Keyring] {
  const [generatorKeyId, ...others] = keyIds;
  return [{ kind: "kms", keyIds }, new KmsKeyring({ client: kmsClient, generatorKeyId, keyIds: others })];
}
function aes(length: number): [PeerKey, Keyring] {
  const wrappingKey = randomBytes(length);
  // ASCII: the Python SDK writes the length of a namespace in characters, so that others cannot parse it.
  const [namespace, name] = ["integration", `aes ${length * 8}`];
  const key = { kind: "aes", namespace, name, key: wrappingKey.toString("base64") } as const;
  return [key, new RawAesKeyring({ keyNamespace: namespace, keyName: name, wrappingKey })];
}
function rsa(padding: RsaPadding): [PeerKey, Keyring] {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  const [namespace, name] = ["integration", `rsa ${padding}`];
  const key = { kind: "rsa", namespace, name, padding, privateKey } as const;
  return [key, new RawRsaKeyring({ keyNamespace: namespace, keyName: name, publicKey, privateKey, padding })];
}

/** All sets of keys that are exchanged. */
export async function createKeySets(): Promise<readonly KeySet[]> {
  const arns = [await createKmsKey(), await createKmsKey(), await createKmsKey()];
  const only = (keyId: string): Keyring => new KmsKeyring({ client: kmsClient, keyIds: [keyId] });
  const single = (name: string, [key, keyring]: [PeerKey, Keyring]): KeySet => ({
    name,
    keys: [key],
    keyring,
    alone: [keyring],
  });
  const mixed = [kms(arns.slice(0, 2)), aes(32), rsa("OAEP-SHA-256")];
  const [generator, ...children] = mixed.map(([, keyring]) => keyring);
  const reversed = [aes(32), kms(arns.slice(1, 2))];
  const [rawGenerator, ...kmsChildren] = reversed.map(([, keyring]) => keyring);
  return [
    single("KMS, one key", kms(arns.slice(0, 1))),
    { ...single("KMS, three keys", kms(arns)), alone: arns.map(only) },
    ...[16, 24, 32].map((length) => single(`raw AES-${length * 8}`, aes(length))),
    ...(["OAEP-SHA-1", "OAEP-SHA-256", "OAEP-SHA-384", "OAEP-SHA-512"] as const).map((padding) =>
      single(`raw RSA, ${padding}`, rsa(padding)),
    ),
    {
      name: "KMS with two keys, raw AES and raw RSA",
      keys: mixed.map(([key]) => key),
      keyring: new MultiKeyring({ generator, children }),
      alone: [...arns.slice(0, 2).map(only), ...children],
    },
    {
      name: "raw AES and KMS",
      keys: reversed.map(([key]) => key),
      keyring: new MultiKeyring({ generator: rawGenerator, children: kmsChildren }),
      alone: [rawGenerator, ...kmsChildren].filter((keyring) => keyring !== undefined),
    },
  ];
}
