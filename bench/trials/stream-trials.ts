// Streams: by chunk and frame length, suites, lengths, many at a time, memory.
import type { TrialOptions } from "../adaptor.ts";
import type { Subject } from "../run-trial.ts";
import {
  defaults,
  directions,
  GiB,
  idOf,
  KiB,
  type Listed,
  lengthText,
  library,
  MiB,
  ours,
} from "./subjects.ts";

export function* listStreamTrials(): Generator<Listed> {
  yield* streams();
  yield* suites();
  yield* lengths();
  yield* concurrent();
  yield* memory();
}

/** Output is memory of its own, which the garbage collector takes back. */
const ordinary: TrialOptions = { ...defaults, reuse: false };

/** Opening reads a whole message from memory; sealing usually reads a few MiB again and again, from the cache. */
const sameSource: Subject = ours("our streams", "native", {
  name: "frameseal native, source as long as the message",
  options: { sourceLength: 64 * MiB },
});

const streamSubjects = (
  direction: "seal" | "open",
  frameLength: number,
  chunkLength: number,
): readonly Subject[] => [
  ours("our streams", "native", { options: { frameLength } }),
  ours("our streams", "native", {
    name: "frameseal native, pooled output",
    options: { frameLength, reuse: true },
  }),
  ours("our streams", "node", { options: { frameLength } }),
  library("createCipheriv Transform", "node streams"),
  library("@aws-crypto/client-node", "client-node streams", { options: { frameLength } }),
  ...(direction === "seal" && chunkLength === MiB ? [sameSource] : []),
  ...(direction === "seal" ? [library("PassThrough", "pass-through")] : []),
];

function* streams(): Generator<Listed> {
  for (const direction of directions)
    for (const chunkLength of [64 * KiB, MiB])
      for (const frameLength of [4 * KiB, 64 * KiB, MiB])
        yield {
          full: chunkLength === MiB && frameLength !== 64 * KiB,
          trial: {
            id: idOf("streams", direction, `frames-${idOf(frameLength)}`, `chunks-${idOf(chunkLength)}`),
            group: "streams",
            title: `Stream from memory to nowhere, chunks of ${lengthText(chunkLength)}, frames of ${lengthText(frameLength)}`,
            operation: direction,
            direction,
            workload: "streams",
            unit: "bytes",
            size: 64 * MiB,
            frameLength,
            suite: "0x0478",
            reference: "@aws-crypto/client-node",
            options: { ...ordinary, size: 64 * MiB, chunkLength, frameLength },
            subjects: streamSubjects(direction, frameLength, chunkLength),
          },
        };
}

function* suites(): Generator<Listed> {
  for (const suite of [0x0578, 0x0478])
    yield {
      full: suite === 0x0478,
      trial: {
        id: idOf("suites", `0x0${suite.toString(16)}`),
        group: "suites",
        title:
          suite === 0x0578
            ? "Signed messages (ECDSA P-384), frames of 64 KiB"
            : "Unsigned messages, frames of 64 KiB",
        operation: "seal",
        direction: "seal",
        workload: "streams",
        unit: "bytes",
        size: 64 * MiB,
        frameLength: 64 * KiB,
        suite: `0x0${suite.toString(16)}`,
        reference: "@aws-crypto/client-node",
        options: { ...ordinary, size: 64 * MiB, suite },
        subjects: [
          ours("our streams", "native"),
          ours("our streams", "node"),
          library("@aws-crypto/client-node", "client-node streams"),
        ],
      },
    };
}

function* lengths(): Generator<Listed> {
  for (const size of [MiB, 16 * MiB, 256 * MiB, GiB, 4 * GiB, 16 * GiB, 64 * GiB])
    yield {
      full: size > GiB,
      trial: {
        id: idOf("lengths", size),
        group: "lengths",
        title: `One message of ${lengthText(size)} through a stream`,
        operation: "seal",
        direction: "seal",
        workload: "streams",
        unit: "bytes",
        size,
        reference: "frameseal native",
        rounds: size > 4 * GiB ? 1 : 3,
        options: { ...ordinary, size, chunkLength: MiB },
        subjects: [ours("our streams", "native")],
      },
    };
}

function* concurrent(): Generator<Listed> {
  const subjects = [1, 4, 16, 64].map((inFlight) =>
    ours("our streams", "native", { name: `frameseal native, ${inFlight} at a time`, inFlight }),
  );
  yield {
    full: false,
    trial: {
      id: "concurrent/streams",
      group: "concurrent",
      title: "Streams of 64 MiB, 1 to 64 at a time, all together",
      operation: "seal",
      direction: "seal",
      workload: "concurrent streams",
      unit: "bytes",
      size: 64 * MiB,
      reference: "frameseal native, 1 at a time",
      options: { ...ordinary, size: 64 * MiB, chunkLength: MiB },
      subjects,
    },
  };
}

function* memory(): Generator<Listed> {
  for (const [name, size, full] of [
    ["stream", 16 * GiB, false],
    ["long-stream", 64 * GiB, true],
  ] as const)
    yield {
      full,
      trial: {
        id: idOf("memory", name),
        group: "memory",
        title: `Resident memory while ${lengthText(size)} are sealed in one stream`,
        operation: "seal",
        direction: "seal",
        workload: "streams",
        unit: "bytes",
        size,
        reference: "frameseal native",
        rounds: 1,
        memoryEveryMs: 50,
        options: { ...ordinary, size, chunkLength: 64 * KiB },
        subjects: [ours("our streams", "native")],
      },
    };
  yield {
    full: false,
    trial: {
      id: "memory/messages",
      group: "memory",
      title: "Resident memory while a few thousand messages of 1 MiB are sealed, one after another",
      operation: "seal",
      direction: "seal",
      workload: "buffers",
      unit: "bytes",
      size: MiB,
      reference: "frameseal native",
      rounds: 30,
      memoryEveryMs: 20,
      options: ordinary,
      subjects: [ours("our messages", "native")],
    },
  };
}
