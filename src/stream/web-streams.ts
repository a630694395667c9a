// Web-stream twins of the Node streams.
import { ReadableStream, TransformStream, WritableStream } from "node:stream/web";
import { checkOptions } from "../check-options.ts";
import { aborted } from "../errors.ts";
import type { MessageHeader } from "../format/header.ts";
import { DECRYPT_OPTIONS, type DecryptOptions } from "../message/open-message.ts";
import { checkEncryptOptions, ENCRYPT_OPTIONS, type EncryptOptions } from "../message/seal-message.ts";
import { isBytes } from "../shapes.ts";
import { untilAborted, untilNextTurn } from "../until-aborted.ts";
import type { Emit, FrameMachine, OnError } from "./frame-machine.ts";
import { MessageDecryptor } from "./message-decryptor.ts";
import { MessageEncryptor, type OnHeader } from "./message-encryptor.ts";

/** A TransformStream of bytes that tells the header of its message. */
export class FrameTransformStream extends TransformStream<Uint8Array, Uint8Array> {
  /** Resolves when the header is made or verified; rejects if the stream fails before. */
  readonly header: Promise<MessageHeader>;
  readonly #readable: ReadableStream<Uint8Array>;
  readonly #writable: WritableStream<Uint8Array>;

  constructor(
    createMachine: (emit: Emit, onHeader: OnHeader, onError: OnError) => FrameMachine,
    signal: AbortSignal | undefined,
  ) {
    super();
    let resolveHeader: OnHeader = () => {};
    let rejectHeader: (reason: unknown) => void = () => {};
    this.header = new Promise((resolve, reject) => {
      resolveHeader = resolve;
      rejectHeader = reject;
    });
    this.header.catch(() => {});

    let wake: (() => void) | undefined;
    const resume = (): void => {
      wake?.();
      wake = undefined;
    };
    let ended = false;
    /** Ends waiting for an engine that may never answer. */
    const stop = new AbortController();
    const machine = createMachine(
      (bytes) => {
        if (bytes.length === 0 || ended) return;
        output?.enqueue(bytes);
        if ((output?.desiredSize ?? 0) > 0) return;
        return new Promise((resolve) => {
          wake = resolve;
        });
      },
      resolveHeader,
      (error) => fail(error),
    );

    const end = async (): Promise<void> => {
      ended = true;
      signal?.removeEventListener("abort", onAbort);
      resume();
      stop.abort();
      await untilNextTurn(machine.dispose());
    };
    const failReaders = (error: unknown): void => {
      if (ended) return;
      rejectHeader(error);
      output?.error(error);
      void end();
    };
    const fail = (error: unknown): void => {
      if (!ended) input?.error(error);
      failReaders(error);
    };
    const onAbort = (): void => {
      if (signal !== undefined) fail(aborted(signal));
    };
    const attempt = async (work: () => void | Promise<void>): Promise<void> => {
      try {
        const wait = work();
        if (wait !== undefined) await untilAborted(wait, stop.signal);
      } catch (error) {
        fail(error);
        throw error;
      }
    };

    let output: ReadableStreamDefaultController<Uint8Array> | undefined;
    let input: WritableStreamDefaultController | undefined;
    this.#readable = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          output = controller as ReadableStreamDefaultController<Uint8Array>;
        },
        pull: resume,
        async cancel(reason) {
          rejectHeader(reason);
          input?.error(reason);
          await end();
        },
      },
      { highWaterMark: 1 },
    );
    this.#writable = new WritableStream<Uint8Array>(
      {
        start(controller) {
          input = controller as WritableStreamDefaultController;
          // Told at once, where `abort` is called only after what hangs has ended.
          const aborting = input.signal;
          aborting.addEventListener("abort", () => failReaders(aborting.reason), { once: true });
          if (signal?.aborted) onAbort();
          return attempt(() => machine.start());
        },
        write(chunk) {
          return attempt(() => {
            if (!isBytes(chunk)) throw new TypeError(`"chunk" expected a Uint8Array, got ${typeof chunk}`);
            return machine.absorb([chunk]);
          });
        },
        async close() {
          await attempt(() => machine.finish());
          output?.close();
          await end();
        },
        abort: (reason) => fail(reason),
      },
      { highWaterMark: 1 },
    );
    signal?.addEventListener("abort", onAbort, { once: true });
  }

  override get readable(): ReadableStream<Uint8Array> {
    return this.#readable;
  }
  override get writable(): WritableStream<Uint8Array> {
    return this.#writable;
  }
}

/** As `createEncryptStream`, as a Web stream for `pipeThrough`. */
export function encryptWebStream(givenOptions: EncryptOptions): FrameTransformStream {
  const options = checkEncryptOptions(givenOptions, ENCRYPT_OPTIONS);
  return new FrameTransformStream(
    (emit, onHeader, onError) => new MessageEncryptor(options, emit, onHeader, onError),
    options.signal,
  );
}

/** As `createDecryptStream`, as a Web stream for `pipeThrough`. */
export function decryptWebStream(givenOptions: DecryptOptions): FrameTransformStream {
  const options = checkOptions("options", givenOptions, DECRYPT_OPTIONS);
  return new FrameTransformStream(
    (emit, onHeader) => new MessageDecryptor(options, emit, onHeader),
    options.signal,
  );
}

interface ReadableStreamDefaultController<T> {
  readonly desiredSize: number | null;
  enqueue(chunk: T): void;
  close(): void;
  error(reason?: unknown): void;
}
interface WritableStreamDefaultController {
  readonly signal: AbortSignal;
  error(reason?: unknown): void;
}
