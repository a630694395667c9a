// Runs command lines within the test's process, which takes a hundredth of the time of a child, and writes down all that
// can be seen of each: exit code, output, files, requests, timers. The test file has to mock `node:fs` with `observedFs`.
import { S3Client } from "@aws-sdk/client-s3";
import { vi } from "vitest";

type Fs = typeof import("node:fs");

const output: Record<1 | 2, Buffer[]> = { 1: [], 2: [] };
let seen: string[] = [];
let underWay = 0;
let terminal = false;

const isOutput = (descriptor: unknown): descriptor is 1 | 2 => descriptor === 1 || descriptor === 2;

/** `node:fs` whose descriptors 1 and 2 are kept, and where 2 can be made to look like a terminal. */
export function observedFs(fs: Fs): Fs {
  const writeSync = (descriptor: number, bytes: Uint8Array, ...where: number[]) => {
    if (!isOutput(descriptor)) return fs.writeSync(descriptor, bytes, ...where);
    const [offset = 0, length = bytes.length - offset] = where;
    output[descriptor].push(Buffer.from(bytes.subarray(offset, offset + length)));
    return length;
  };
  const write = (descriptor: number, bytes: Uint8Array, ...rest: unknown[]) => {
    if (!isOutput(descriptor)) return (fs.write as (...all: unknown[]) => void)(descriptor, bytes, ...rest);
    const done = rest.pop() as (error: null, count: number) => void;
    const [offset = 0, length = bytes.length - offset] = rest as number[];
    output[descriptor].push(Buffer.from(bytes.subarray(offset, offset + length)));
    setImmediate(() => done(null, length));
  };
  const fstatSync = (descriptor: number, ...rest: unknown[]) =>
    descriptor === 2 && terminal
      ? { isCharacterDevice: () => true }
      : (fs.fstatSync as (...all: unknown[]) => unknown)(descriptor, ...rest);
  // As the null device, which takes everything through `write`.
  const fstat = (descriptor: number, ...rest: unknown[]) =>
    descriptor === 1
      ? (fs.stat as (...all: unknown[]) => void)("/dev/null", ...rest)
      : (fs.fstat as (...all: unknown[]) => void)(descriptor, ...rest);
  const fsync = (descriptor: number, done: () => void) => {
    seen.push("sync");
    fs.fsync(descriptor, done);
  };
  const changed = { ...fs, writeSync, write, fstatSync, fstat, fsync } as unknown as Fs;
  return { ...changed, default: changed } as unknown as Fs;
}

interface Request {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | null>>;
  readonly headers: Readonly<Record<string, string>>;
}
/** The part of the SDK that sends. */
interface Handler {
  handle(request: Request, options: unknown): Promise<unknown>;
  httpHandlerConfigs(): { readonly connectionTimeout?: number; readonly socketTimeout?: number };
}

/** Starts to write down requests, timers and syncs of the whole process. */
export function startObserving(): void {
  const handler = Object.getPrototypeOf(new S3Client({}).config.requestHandler) as Handler;
  const { handle } = handler;
  vi.spyOn(handler, "handle").mockImplementation(async function (this: Handler, request, options) {
    const { method, protocol, hostname, port, headers } = request;
    const query = Object.entries(request.query ?? {}).map(([name, value]) => `${name}=${value ?? ""}`);
    seen.push(`request ${method} ${protocol}//${hostname}:${port}${request.path}?${query.join("&")}`);
    for (const [name, value] of Object.entries(headers)) seen.push(`  ${name}: ${value}`);
    seen.push(`at once ${++underWay}`);
    try {
      return await handle.call(this, request, options);
    } finally {
      underWay--;
      const { connectionTimeout, socketTimeout } = this.httpHandlerConfigs();
      seen.push(`  connect ${connectionTimeout} read ${socketTimeout}`);
    }
  });
  const { setInterval, setTimeout } = globalThis;
  vi.spyOn(globalThis, "setInterval").mockImplementation(((act: () => void, ms: number) => {
    seen.push(`interval ${ms}`);
    return setInterval(act, ms);
  }) as typeof globalThis.setInterval);
  vi.spyOn(globalThis, "setTimeout").mockImplementation(((act: () => void, ms: number, ...rest: []) => {
    seen.push(`timer ${ms}`);
    return setTimeout(act, ms, ...rest);
  }) as typeof globalThis.setTimeout);
}

/** Adds a line to what is seen of the command that runs. */
export function see(line: string): void {
  seen.push(line);
}

// Enough of it, and nothing that a terminal would obey when a test fails.
function shown(text: string): string {
  return text.slice(0, 3000).replace(/[^\n -~]/g, "?");
}

/** How a command line was run, and what was seen. */
export interface Observed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** All of it, as lines. */
  readonly all: string;
}

/** Runs `args` as `run` of the command line would. @param isTerminal whether stderr looks like a terminal */
export async function observe(
  run: (args: readonly string[]) => Promise<number>,
  args: readonly string[],
  isTerminal = false,
): Promise<Observed> {
  [output[1], output[2], seen, terminal] = [[], [], [], isTerminal];
  const before = { ...process.env };
  const argv = process.argv;
  process.argv = [...argv.slice(0, 1), "frameseal", ...args];
  const { isTTY } = process.stderr;
  process.stderr.isTTY = isTerminal;
  try {
    const code = await run(args);
    const [stdout, stderr] = [Buffer.concat(output[1]).toString(), Buffer.concat(output[2]).toString()];
    const all = [
      `exit ${code}`,
      `out ${stdout.length} ${shown(stdout)}`,
      `err ${shown(stderr)}`,
      ...seen,
    ].join("\n");
    return { code, stdout, stderr, all };
  } finally {
    process.argv = argv;
    process.stderr.isTTY = isTTY;
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  }
}
