// Servers for `trees`, each with an empty bucket, and a proxy that counts what goes through it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import path from "node:path";
import { createInterface } from "node:readline";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { packageFolder } from "../packages.ts";

/** Its one user has this name and this secret, at all servers. */
export const USER = "testing";
export const BUCKET = "bench";

/** A server that runs. */
export interface TreeServer {
  readonly name: string;
  readonly endpoint: string;
  readonly pid: number | undefined;
  end(): Promise<void>;
}

/** Ceph's server, in memory. It ends with its standard input. */
export async function startRgw(): Promise<TreeServer> {
  const script = path.join(packageFolder, "test/integration/start-rgw.sh");
  const child = spawn("bash", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const { value: endpoint } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (typeof endpoint !== "string") throw new Error("Ceph's server does not start");
  await createBucket(endpoint);
  const end = async (): Promise<void> => {
    child.stdin.end();
    await closed;
  };
  return { name: "Ceph RGW in memory", endpoint, pid: undefined, end };
}

/** A server in Go that stores each object as a file of `folder`. */
export async function startVersity(program: string, folder: string): Promise<TreeServer> {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const keys = ["--access", USER, "--secret", USER];
  const args = [...keys, "--port", `127.0.0.1:${port}`, "--quiet", "--keep-alive", "posix", folder];
  const child = spawn(program, args, { stdio: "ignore" });
  const closed = once(child, "close");
  const endpoint = `http://127.0.0.1:${port}`;
  await createBucket(endpoint);
  const end = async (): Promise<void> => {
    child.kill();
    await closed;
  };
  return { name: "Versity S3 Gateway, files", endpoint, pid: child.pid, end };
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

// Until the server listens.
async function createBucket(endpoint: string): Promise<void> {
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: USER, secretAccessKey: USER },
  });
  for (let left = 100; ; left--)
    try {
      await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
      client.destroy();
      return;
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** What went through a proxy. */
export interface Traffic {
  readonly requests: ReadonlyMap<string, number>;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** A proxy before a server, which counts requests by method and bytes of bodies. */
export class CountingProxy {
  readonly #server = createServer((message, response) => this.#pass(message, response));
  readonly #agent = new Agent({ keepAlive: true });
  readonly #target: URL;
  #requests = new Map<string, number>();
  #sent = 0;
  #received = 0;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server.keepAliveTimeout = 60_000;
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What was counted since the last call. */
  take(): Traffic {
    const traffic = { requests: this.#requests, sentBytes: this.#sent, receivedBytes: this.#received };
    [this.#requests, this.#sent, this.#received] = [new Map(), 0, 0];
    return traffic;
  }

  async end(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  // The name of the host is signed, and goes on as it is.
  #pass(message: IncomingMessage, response: ServerResponse): void {
    const { method = "", url, headers } = message;
    this.#requests.set(method, (this.#requests.get(method) ?? 0) + 1);
    const { expect: _, connection: __, ...passed } = headers;
    const onward = request(
      {
        host: this.#target.hostname,
        port: this.#target.port,
        agent: this.#agent,
        method,
        path: url,
        headers: passed,
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on("data", (chunk: Buffer) => {
          this.#received += chunk.length;
        });
        answer.pipe(response);
      },
    );
    onward.on("error", () => response.destroy());
    message.on("data", (chunk: Buffer) => {
      this.#sent += chunk.length;
    });
    message.pipe(onward);
  }
}
