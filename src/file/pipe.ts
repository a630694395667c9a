// Pipes, sockets and terminals as files are used: what arrives in pieces, and writes that wait for the reader. Loaded
// only when one is used: most of its cost is that of loading `node:net`.
import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";
import { ReadStream } from "node:tty";
import { aborted } from "../errors.ts";
import { isError } from "../shapes.ts";

/** One read of a pipe gets no more than this; the kernel's default is 64 KiB. */
const PIECE_LENGTH = 256 * 1024;
/** One is being filled, one is being worked on, the others wait for either. */
const PIECE_COUNT = 4;

/**
 * Reads a pipe or a socket without a thread that blocks in it, so that a process can stop at any time. Closes it.
 * @param signal has not been aborted
 */
export async function* received(
  descriptor: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const free: Buffer[] = Array.from({ length: PIECE_COUNT }, () => Buffer.allocUnsafeSlow(PIECE_LENGTH));
  const arrived: { readonly buffer: Buffer; readonly length: number }[] = [];
  let state = "open" as "open" | "ended" | Error;
  let wake: (() => void) | undefined;
  let filling: Buffer = Buffer.alloc(0);
  const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = {
    fd: descriptor,
    readable: true,
    writable: false,
    onread: {
      // Asked for right after each read, also when that one was the last before a pause.
      buffer() {
        filling = free.pop() ?? Buffer.allocUnsafeSlow(PIECE_LENGTH);
        return filling;
      },
      callback(length) {
        arrived.push({ buffer: filling, length });
        wake?.();
        return free.length > 1;
      },
    },
  };
  const socket = new Socket(options);
  const stop = (reason: "ended" | Error): void => {
    if (state === "open") state = reason;
    wake?.();
  };
  const onAbort = (): void => {
    if (signal !== undefined) stop(aborted(signal));
  };
  socket
    .on("end", () => stop("ended"))
    .on("error", stop)
    .on("close", () => stop("ended"));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    socket.resume();
    for (;;) {
      if (arrived.length === 0 && state === "open")
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      wake = undefined;
      if (isError(state)) throw state;
      const next = arrived.shift();
      if (next !== undefined) {
        yield next.buffer.subarray(0, next.length);
        free.push(next.buffer);
        socket.resume();
      } else if (state === "ended") return;
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    socket.destroy();
    for (const buffer of [filling, ...free, ...arrived.map(({ buffer }) => buffer)]) buffer.fill(0);
  }
}

/**
 * Reads a terminal, and closes it.
 * @param signal has not been aborted
 */
export async function* typed(
  descriptor: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const terminal = new ReadStream(descriptor);
  const onAbort = (): void => {
    if (signal !== undefined) terminal.destroy(aborted(signal));
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for await (const piece of terminal) yield piece as Buffer;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    terminal.destroy();
  }
}

/** Writes to a pipe without a thread that blocks in it, so that a process can stop at any time. */
export class PipeWriter {
  readonly #socket: Socket;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.#fail(aborted(this.#signal));
  };
  #failure: Error | undefined;
  #reject: ((error: Error) => void) | undefined;

  constructor(descriptor: number, signal: AbortSignal | undefined) {
    this.#socket = new Socket({ fd: descriptor, readable: false, writable: true });
    this.#signal = signal;
    this.#socket.on("error", (error) => this.#fail(error));
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#reject = reject;
      this.#socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  end(): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#reject?.(error);
  }
}
