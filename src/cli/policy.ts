// frameseal policy: a bucket policy that demands encryption, or what a given one says.
import type { Command } from "commander";
import type { RequiredEncryption } from "../s3/server-side/bucket-policy.ts";
import { isErrorNamed } from "../shapes.ts";
import { addAwsOptions, createS3Client } from "./aws-client.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { ofFile, shown } from "./names.ts";
import type { KeyOptions } from "./options.ts";
import { note, print, printJson, printLines } from "./output.ts";

interface PolicyOptions extends KeyOptions {
  readonly require?: string;
  readonly kmsKey?: string;
  readonly forbidSseC?: boolean;
  readonly allowHttp?: boolean;
  readonly partition?: string;
  readonly explain?: string;
  readonly show?: boolean;
  readonly apply?: boolean;
  readonly json?: boolean;
}

const choices: Readonly<Record<string, RequiredEncryption>> = {
  s3: "SSE-S3",
  kms: "SSE-KMS",
  c: "SSE-C",
  any: "any",
  none: "none",
};

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("policy")
    .description("make, apply or explain a bucket policy that demands encryption")
    .argument("[bucket]", "name of the bucket")
    .option(
      "--require <s3|kms|c|any|none>",
      "server-side encryption that uploads must ask for (default: any)",
    )
    .option("--kms-key <arn>", "with --require kms: the only key allowed")
    .option("--forbid-sse-c", "deny uploads with keys of the customer")
    .option("--allow-http", "do not deny requests over plain http")
    .option("--partition <name>", "aws, aws-cn or aws-us-gov (default: aws)")
    .option("--apply", "put the policy on the bucket, in place of the one it has")
    .option("--show", "explain the policy that the bucket has")
    .option("--explain <file>", "explain the policy in this file (-: standard input)")
    .option("--json", "print the explanation as JSON");
  addAwsOptions(command);
  command.addHelpText(
    "after",
    `
A policy decides by the headers of a request: it cannot see whether a body was encrypted on this
side. What is explained is told for all requests of a kind: "depends" is on the object, the caller,
or more of the request. With a bucket, the policy is judged for that one, else for the one that it
names.

Examples:
  frameseal policy backups --require kms --kms-key arn:aws:kms:eu-central-1:111122223333:key/1234
  frameseal policy backups --require any --apply
  frameseal policy backups --explain policy.json`,
  );
  command.action(policy);
}

/** Options that say what a policy shall be: one that is there is not changed by them. */
const makingOptions = {
  require: "--require",
  kmsKey: "--kms-key",
  forbidSseC: "--forbid-sse-c",
  allowHttp: "--allow-http",
  partition: "--partition",
  apply: "--apply",
} as const satisfies Partial<Record<keyof PolicyOptions, string>>;

async function policy(bucket: string | undefined, options: PolicyOptions): Promise<void> {
  if (options.explain !== undefined && options.show === true)
    throw new UsageError("give --explain FILE or --show, not both");
  if (options.explain !== undefined || options.show === true)
    for (const [name, flag] of Object.entries(makingOptions))
      if (options[name as keyof typeof makingOptions] !== undefined)
        throw new UsageError(`${flag} is for a policy that is made, not for one that is explained`);
  if (options.explain !== undefined) return explain(await readPolicy(options.explain), bucket, options);
  if (bucket === undefined) throw new UsageError("name a bucket, or a file with --explain");
  if (options.show === true) return explain(await fetchPolicy(bucket, options), bucket, options);
  const { require: choice = "any" } = options;
  const require = Object.hasOwn(choices, choice) ? choices[choice] : undefined;
  if (require === undefined)
    throw new UsageError(`--require is s3, kms, c, any or none, not ${shown(choice)}`);
  const { requireEncryptionPolicy } = await import("../s3/server-side/bucket-policy.ts");
  const made = requireEncryptionPolicy({
    bucket,
    require,
    kmsKeyId: options.kmsKey,
    customerKeys: options.forbidSseC === true ? "forbid" : "allow",
    plainHttp: options.allowHttp === true ? "allow" : "deny",
    partition: options.partition,
  });
  printLines(JSON.stringify(made, undefined, 2));
  if (options.apply !== true) return;
  const client = await createS3Client(options);
  try {
    const { PutBucketPolicyCommand } = await import("@aws-sdk/client-s3");
    const command = new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify(made) });
    await client.send(command, { abortSignal: interruptSignal });
    note(`bucket ${bucket} has this policy now`);
  } finally {
    client.destroy();
  }
}

async function explain(text: string, bucket: string | undefined, options: PolicyOptions): Promise<void> {
  const { explainPolicy } = await import("../s3/server-side/explain-policy.ts");
  let explanation: ReturnType<typeof explainPolicy>;
  try {
    explanation = explainPolicy(text, bucket === undefined ? {} : { bucket });
  } catch (error) {
    const mistake = '"policy" ';
    if (isErrorNamed(error, "TypeError") && error.message.startsWith(mistake))
      throw new CommandFailure(`this is no bucket policy: ${error.message.slice(mistake.length)}`);
    throw error;
  }
  if (options.json === true) return printJson(explanation);
  const { sentences, uploads, plainHttp } = explanation;
  for (const sentence of sentences) print(sentence);
  const { none, ...encrypted } = uploads;
  print(`uploads without encryption: ${none}`);
  print(`plain http: ${plainHttp}`);
  for (const [kind, verdict] of Object.entries(encrypted)) print(`uploads with ${kind}: ${verdict}`);
  for (const warning of explanation.warnings) note(warning);
}

async function readPolicy(file: string): Promise<string> {
  if (file === "-") return (await import("node:stream/consumers")).text(process.stdin);
  return ofFile(file, (await import("node:fs/promises")).readFile(file, "utf8"));
}

async function fetchPolicy(bucket: string, options: PolicyOptions): Promise<string> {
  const client = await createS3Client(options);
  try {
    const { GetBucketPolicyCommand } = await import("@aws-sdk/client-s3");
    const command = new GetBucketPolicyCommand({ Bucket: bucket });
    const { Policy } = await client.send(command, { abortSignal: interruptSignal });
    return Policy ?? "";
  } finally {
    client.destroy();
  }
}
