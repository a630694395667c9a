// What many tests need: a keyring that knows its data key, engines that work here, chunks, and a log of what a stream
// does.
import { randomBytes } from "node:crypto";
import type { Transform } from "node:stream";
import { createEngine } from "../../src/engine/select-engine.ts";
import type { CommitmentPolicy, DataKeyRequest, Keyring } from "../../src/index.ts";

/** The engines to run on: Node's, and the native one where it works. */
export const engineNames: readonly string[] = ["node", "native"].filter((name) => {
  try {
    createEngine(name);
    return true;
  } catch {
    return false;
  }
});

/** A keyring whose data key is known to the test. It wraps nothing: the header carries a placeholder. */
export function staticKeyring(dataKey: Uint8Array = randomBytes(32)): Keyring {
  const key = (request: DataKeyRequest): Uint8Array =>
    Uint8Array.from(dataKey.subarray(0, request.suite.keyLength));
  return {
    generateDataKey: async (request) => ({
      dataKey: key(request),
      encryptedDataKeys: [
        { providerId: "test", providerInfo: Buffer.from("key"), ciphertext: Buffer.alloc(8, 7) },
      ],
    }),
    wrapDataKey: async () => [],
    unwrapDataKey: async (_, request) => key(request),
  };
}

/** The policy under which `suite` may be written, and read. */
export function policyFor(suite: number): CommitmentPolicy {
  return suite >= 0x0400 ? "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" : "FORBID_ENCRYPT_ALLOW_DECRYPT";
}

/** Views of `bytes` cut every `length` bytes. */
export function cut<T extends Uint8Array>(bytes: T, length: number): T[] {
  const chunks: T[] = [];
  for (let at = 0; at < bytes.length; at += length) chunks.push(bytes.subarray(at, at + length) as T);
  return chunks;
}

/** What came out of a stream until it ended or failed. */
export interface StreamLog {
  readonly output: Buffer;
  readonly ended: boolean;
  readonly closed: boolean;
  readonly error: unknown;
  readonly events: readonly string[];
}

/** Writes `chunks` as fast as the stream takes them, reads all that comes, and waits until the stream has closed. */
export function runStream(stream: Transform, chunks: Iterable<Uint8Array>): Promise<StreamLog> {
  return new Promise((resolve) => {
    const output: Buffer[] = [];
    const events: string[] = [];
    let error: unknown;
    let ended = false;
    stream.on("header", () => events.push("header"));
    stream.on("data", (data: Buffer) => {
      if (events.at(-1) !== "data") events.push("data");
      output.push(data);
    });
    stream.on("end", () => {
      ended = true;
      events.push("end");
    });
    stream.on("error", (reason) => {
      error = reason;
      events.push("error");
    });
    stream.on("close", () => {
      events.push("close");
      resolve({ output: Buffer.concat(output), ended, closed: true, error, events });
    });
    const iterator = chunks[Symbol.iterator]();
    const write = (): void => {
      for (;;) {
        if (stream.destroyed) return;
        const { done, value } = iterator.next();
        if (done) return void stream.end();
        if (!stream.write(value)) return void stream.once("drain", write);
      }
    };
    write();
  });
}

/** The `code` of what `work` rejects or throws with; "none" when it succeeds; the class name of other errors. */
export async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
    return "none";
  } catch (error) {
    return errorCode(error);
  }
}

export function errorCode(error: unknown): string {
  if (error === undefined) return "none";
  if (!(error instanceof Error)) return `not an Error: ${String(error)}`;
  if (error.name === "FramesealError" && "code" in error) return String(error.code);
  return error.name;
}

/** Small random numbers that can be repeated: mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
