// Whole buffers: single calls, runs of frames on one and more threads, whole messages.
import type { Runtime } from "../child-process.ts";
import {
  defaults,
  directions,
  idOf,
  KiB,
  kernelEngines,
  type Listed,
  lengthText,
  library,
  MiB,
  ours,
  runtimes,
  under,
} from "./subjects.ts";

export function* listBufferTrials(): Generator<Listed> {
  const others = runtimes();
  yield* calls(others);
  yield* frames(kernelEngines(), others);
  yield* threads();
  yield* messages();
}

function* calls(others: readonly Runtime[]): Generator<Listed> {
  for (const direction of directions)
    for (const size of [16, 64, KiB, 16 * KiB, MiB]) {
      const node = library("node:crypto", "node gcm calls");
      yield {
        full: size === 64 || size === KiB || size === 16 * KiB,
        trial: {
          id: idOf("calls", direction, size),
          group: "calls",
          title: `One AES-256-GCM call of ${lengthText(size)}, key at hand`,
          operation: direction,
          direction,
          workload: "buffers",
          unit: "bytes",
          size,
          reference: "node:crypto",
          byBenchmark: size <= KiB,
          options: { ...defaults, size },
          subjects: [
            ours("our gcm calls", "native"),
            ours("our gcm calls", "node"),
            node,
            library("WebCrypto", "webcrypto"),
            library("@noble/ciphers", "noble"),
            ...(direction === "seal" ? others.map((runtime) => under(runtime, node)) : []),
          ],
        },
      };
    }
}

function* frames(kernels: readonly string[], others: readonly Runtime[]): Generator<Listed> {
  const evp35 = others.find(({ name }) => name === "Node 24");
  for (const direction of directions)
    for (const frameLength of [512, 4 * KiB, 64 * KiB, MiB, 4 * MiB]) {
      const size = Math.max(MiB, frameLength);
      const node = library("node:crypto per frame", "node frame runs");
      const subjects = [
        ...kernels.map((engine) => ours("our frame runs", engine)),
        ours("our frame runs", "node"),
        node,
        library("sodium-native secretstream", "sodium"),
      ];
      if (evp35 !== undefined && direction === "seal")
        subjects.push(under(evp35, node), under(evp35, ours("our frame runs", "native:openssl")));
      yield {
        full: frameLength === 512 || frameLength === 4 * MiB,
        trial: {
          id: idOf("frames", direction, frameLength),
          group: "frames",
          title: `Runs of ${lengthText(size)} in frames of ${lengthText(frameLength)}, one thread, memory reused`,
          operation: direction,
          direction,
          workload: "buffers",
          unit: "bytes",
          size,
          frameLength,
          threads: 1,
          reference: "node:crypto per frame",
          options: { ...defaults, size, frameLength },
          subjects,
        },
      };
    }
}

function* threads(): Generator<Listed> {
  for (const direction of directions)
    for (const count of [1, 2, 4, 8])
      yield {
        full: direction === "open" || count === 8,
        trial: {
          id: idOf("scaling", direction, `${count}-threads`),
          group: "scaling",
          title: `Runs of 1 MiB on ${count} thread${count === 1 ? "" : "s"}, frames of 64 KiB, memory reused`,
          operation: direction,
          direction,
          workload: "buffers",
          unit: "bytes",
          size: MiB,
          frameLength: 64 * KiB,
          threads: count,
          reference: "frameseal native:openssl",
          options: { ...defaults, concurrency: count },
          subjects: [
            ours("our frame runs, threads", "native"),
            ours("our frame runs, threads", "native:openssl"),
            ours("our frame runs", "native", { name: "frameseal native, one synchronous thread" }),
          ],
        },
      };
}

function* messages(): Generator<Listed> {
  for (const direction of directions)
    for (const size of [KiB, MiB, 16 * MiB, 128 * MiB])
      yield {
        full: size === 16 * MiB || size === 128 * MiB,
        trial: {
          id: idOf("messages", direction, size),
          group: "messages",
          title: `Whole message of ${lengthText(size)}, data key wrapped, frames of 64 KiB`,
          operation: direction,
          direction,
          workload: "buffers",
          unit: "bytes",
          size,
          frameLength: 64 * KiB,
          suite: "0x0478",
          reference: "@aws-crypto/client-node",
          options: { ...defaults, size, reuse: false },
          subjects: [
            ours("our messages", "native"),
            ours("our messages", "node"),
            library("@aws-crypto/client-node", "client-node messages"),
            library("sodium-native secretstream", "sodium"),
            ...(size > 16 * MiB ? [] : [library("age-encryption", "age")]),
          ],
        },
      };
}
