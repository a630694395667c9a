// The matrix: every trial by its name. Trials that are only in the full set are marked.
import { nativeKernels } from "../engine/native-engine.ts";
import type { TrialOptions } from "./adaptor.ts";
import type { Runtime } from "./child-process.ts";
import { findPackage } from "./packages.ts";
import type { Subject, Trial } from "./run-trial.ts";
import type { WorkFiles } from "./work-files.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const SUITE = 0x0478;

/** A trial, and whether it is only in the full set. */
export interface Listed {
  readonly trial: Trial;
  readonly full: boolean;
}

const directions = ["seal", "open"] as const;
const defaults: TrialOptions = {
  size: MiB,
  frameLength: 64 * KiB,
  chunkLength: 64 * KiB,
  concurrency: 2,
  suite: SUITE,
  reuse: true,
};

/** "64 KiB" for 65536. */
export function lengthText(bytes: number): string {
  for (const [unit, name] of [
    [GiB, "GiB"],
    [MiB, "MiB"],
    [KiB, "KiB"],
  ] as const)
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit} ${name}`;
  return `${bytes} B`;
}

const idOf = (...parts: readonly (string | number)[]): string =>
  parts.map((part) => (typeof part === "number" ? lengthText(part).replace(" ", "") : part)).join("/");

const ours = (adaptor: Subject["adaptor"], engine: string, more: Partial<Subject> = {}): Subject => ({
  name: `frameseal ${engine}`,
  kind: "frameseal",
  adaptor,
  ...more,
  options: { engine, ...more.options },
});
const library = (name: string, adaptor: Subject["adaptor"], more: Partial<Subject> = {}): Subject => ({
  name,
  kind: "library",
  adaptor,
  ...more,
});

/** Other programs that run JavaScript, where their packages are installed. */
function runtimes(): readonly Runtime[] {
  const found = (name: string, folder: string, file: string, args: readonly string[] = []): Runtime => ({
    name,
    command: `${findPackage(folder) ?? `/${folder} is not installed`}/${file}`,
    args,
  });
  return [
    ...["22", "24", "26"].map((version) => found(`Node ${version}`, `node${version}`, "bin/node")),
    found("Bun", "@oven/bun-linux-x64", "bin/bun"),
    found("Deno", "@deno/linux-x64-glibc", "deno", ["run", "--allow-all"]),
  ];
}
const under = (runtime: Runtime, subject: Subject): Subject => ({
  ...subject,
  name: `${subject.name}, ${runtime.name}`,
  kind: "runtime",
  runtime,
});

/** All trials whose subjects run in children. */
export function listTrials(files: WorkFiles): readonly Listed[] {
  const kernels = nativeKernels()
    .filter(({ works }) => works)
    .map(({ name }) => `native:${name}`);
  const others = runtimes();
  return [
    ...calls(others),
    ...frames(kernels, others),
    ...threads(),
    ...messages(),
    ...streams(),
    ...suites(),
    ...lengths(),
    ...concurrent(),
    ...memory(),
    ...ranges(files),
  ];
}

function* calls(others: readonly Runtime[]): Generator<Listed> {
  for (const direction of directions)
    for (const size of [16, 64, KiB, 16 * KiB, MiB]) {
      const node = library("node:crypto", "node gcm calls");
      yield {
        full: size === KiB,
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
          options: { ...defaults, size },
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

const streamSubjects = (direction: "seal" | "open", frameLength: number): readonly Subject[] => [
  ours("our streams", "native", { options: { frameLength } }),
  ours("our streams", "node", { options: { frameLength } }),
  library("createCipheriv Transform", "node streams"),
  library("@aws-crypto/client-node", "client-node streams", { options: { frameLength } }),
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
            options: { ...defaults, size: 64 * MiB, chunkLength, frameLength },
            subjects: streamSubjects(direction, frameLength),
          },
        };
}

function* suites(): Generator<Listed> {
  for (const suite of [0x0578, 0x0478])
    yield {
      full: false,
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
        options: { ...defaults, size: 64 * MiB, suite },
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
        options: { ...defaults, size, chunkLength: MiB },
        subjects: [ours("our streams", "native")],
      },
    };
}

function* concurrent(): Generator<Listed> {
  for (const inFlight of [1, 4, 16, 64])
    yield {
      full: false,
      trial: {
        id: idOf("concurrent", `${inFlight}-streams`),
        group: "concurrent",
        title: `${inFlight} stream${inFlight === 1 ? "" : "s"} of 16 MiB at a time, all together`,
        operation: "seal",
        direction: "seal",
        workload: "concurrent streams",
        unit: "bytes",
        size: 16 * MiB,
        threads: inFlight,
        reference: "frameseal native",
        options: { ...defaults, size: 16 * MiB, chunkLength: MiB },
        subjects: [ours("our streams", "native", { inFlight }), ours("our streams", "node", { inFlight })],
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
        options: { ...defaults, size, chunkLength: 64 * KiB },
        subjects: [ours("our streams", "native")],
      },
    };
  yield {
    full: false,
    trial: {
      id: "memory/messages",
      group: "memory",
      title: "Resident memory while 1,000 messages of 1 MiB are sealed, one after another",
      operation: "seal",
      direction: "seal",
      workload: "buffers",
      unit: "bytes",
      size: MiB,
      reference: "frameseal native",
      rounds: 10,
      memoryEveryMs: 20,
      options: defaults,
      subjects: [ours("our messages", "native")],
    },
  };
}

const RANGE_FILE_LENGTH = GiB;

function* ranges(files: WorkFiles): Generator<Listed> {
  for (const [name, step] of [
    ["aligned", 64 * KiB],
    ["unaligned", 1],
  ] as const)
    yield {
      full: false,
      trial: {
        id: idOf("ranges", name),
        group: "ranges",
        title: `Random ranges of 64 KiB of a message of ${lengthText(RANGE_FILE_LENGTH)} in the page cache, 8 in flight, ${name === "aligned" ? "on frames" : "at any byte"}`,
        operation: "open",
        direction: "open",
        workload: "ranges",
        unit: "ranges",
        size: 64 * KiB,
        frameLength: 64 * KiB,
        reference: "plain reads",
        file: () => files.sealed(RANGE_FILE_LENGTH),
        options: { ...defaults, size: 64 * KiB, chunkLength: step },
        subjects: [
          ours("our streams", "native", { inFlight: 8 }),
          ours("our streams", "node", { inFlight: 8 }),
          library("plain reads", "pass-through", { inFlight: 8 }),
        ],
      },
    };
}
