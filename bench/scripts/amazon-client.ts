// Transfers by Amazon's S3 Encryption Clients, through the programs that the integration tests have built.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { benchKmsKeyId } from "../kms-answers.ts";
import { packageFolder } from "../packages.ts";

export type AmazonClient = "java" | "python";

/** What a transfer cost. */
export interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Resident memory at its peak. */
  readonly mebibytes: number;
}

const cache = path.join(packageFolder, "node_modules/.cache/frameseal-integration");

function commandOf(client: AmazonClient): readonly [string, ...string[]] {
  if (client === "python")
    return [
      path.join(cache, "s3ec_python/venv/bin/python"),
      path.join(packageFolder, "test/interop/peers/python/peer.py"),
    ];
  const packages = readFileSync(path.join(cache, "s3ec_java/classpath"), "utf8").trim();
  return ["java", "-cp", `${path.join(cache, "s3ec_java/target/classes")}:${packages}`, "Peer"];
}

/** Puts `file`, or gets the object under `key` into it. */
export async function transferByAmazon(
  client: AmazonClient,
  operation: "put" | "get",
  key: string,
  file: string,
  environment: NodeJS.ProcessEnv,
): Promise<Cost> {
  const [command, ...args] = commandOf(client);
  const child = spawn(command, args, { env: environment, stdio: ["pipe", "pipe", "ignore"] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (question: object): Promise<{ readonly cpu?: number }> => {
    child.stdin.write(`${JSON.stringify(question)}\n`);
    const line = await answers.next();
    if (line.done === true) throw new Error(`Amazon's client for ${client} ended without an answer`);
    const answer = JSON.parse(line.value) as { readonly error?: string; readonly cpu?: number };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  const start = performance.now();
  await ask({
    op: operation,
    key,
    file,
    multipart: true,
    bucket: "bench",
    suite: "v3",
    policy: "REQUIRE_ENCRYPT_REQUIRE_DECRYPT",
    material: { kind: "kms", keyId: benchKmsKeyId },
    delayed: true,
  });
  const seconds = (performance.now() - start) / 1000;
  const { cpu = Number.NaN } = await ask({ op: "usage" });
  const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
  const mebibytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
  child.stdin.end();
  return { seconds, cpuSeconds: cpu, mebibytes };
}
