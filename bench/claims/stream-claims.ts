// Claims of streams: speed, memory, length, many at a time.
import { atMost, type Claim, faster, spaced } from "./claim.ts";

const MiB = 2 ** 20;
const clientNode = "@aws-crypto/client-node";
const cipheriv = "createCipheriv Transform";
const pooled = "frameseal native, pooled output";

const speed: readonly Claim[] = [
  ...(
    [
      ["64KiB", 2.5],
      ["1MiB", 3],
    ] as const
  ).flatMap(([chunk, bar]) => [
    faster({
      id: `stream-cipheriv-${chunk}`,
      text: `stream, chunks of ${spaced(chunk)}, against createCipheriv`,
      bar,
      trial: `streams/seal/frames-64KiB/chunks-${chunk}`,
      peer: cipheriv,
    }),
    faster({
      id: `stream-cipheriv-${chunk}-pooled`,
      text: `stream, chunks of ${spaced(chunk)}, output given back, against createCipheriv`,
      bar: 4,
      trial: `streams/seal/frames-64KiB/chunks-${chunk}`,
      peer: cipheriv,
      name: pooled,
    }),
  ]),
  ...(["seal", "open"] as const).flatMap((direction) =>
    (
      [
        ["4KiB", 30],
        ["64KiB", direction === "seal" ? 12 : 7],
        ["1MiB", 7],
      ] as const
    ).map(([frame, bar]) =>
      faster({
        id: `stream-${direction}-${frame}-client-node`,
        text: `stream, ${direction}, frames of ${spaced(frame)}, against client-node`,
        bar,
        trial: `streams/${direction}/frames-${frame}/chunks-64KiB`,
        peer: clientNode,
      }),
    ),
  ),
  {
    id: "stream-open-as-seal",
    text: "opening a stream as a share of sealing it",
    bar: 1,
    higher: true,
    unit: "×",
    trials: ["streams/open/frames-64KiB/chunks-1MiB", "streams/seal/frames-64KiB/chunks-1MiB"],
    measure: (figures, [open = "", seal = ""]) =>
      figures.rate(open) / figures.rate(seal, "frameseal native, source as long as the message"),
  },
  ...(
    [
      ["4KiB", "seal", 4],
      ["4KiB", "open", 3],
      ["64KiB", "seal", 3],
      ["64KiB", "open", 2],
    ] as const
  ).map(([frame, direction, bar]) =>
    faster({
      id: `node-engine-${direction}-${frame}`,
      text: `Node engine, stream, ${direction}, frames of ${spaced(frame)}, against client-node`,
      bar,
      trial: `streams/${direction}/frames-${frame}/chunks-64KiB`,
      peer: clientNode,
      name: "frameseal node",
    }),
  ),
];

const memory: readonly Claim[] = [
  atMost(
    {
      id: "stream-memory",
      text: "peak memory of a stream of 64 GiB (16 GiB in the default set)",
      bar: 160,
      unit: "MiB",
      trial: "memory/long-stream",
      instead: "memory/stream",
    },
    (figures, trial) => figures.peak(trial) / MiB,
  ),
  atMost(
    {
      id: "stream-memory-flat",
      text: "peak memory of that stream, later half against earlier half",
      bar: 1.05,
      unit: "×",
      trial: "memory/long-stream",
      instead: "memory/stream",
    },
    (figures, trial) => figures.memoryGrowth(trial),
  ),
  atMost(
    {
      id: "messages-memory-flat",
      text: "memory over more than 1,000 messages of 1 MiB, later half against earlier half",
      bar: 1.05,
      unit: "×",
      trial: "memory/messages",
    },
    (figures, trial) => figures.memoryGrowth(trial),
  ),
];

const lengthTrials = ["1MiB", "16MiB", "256MiB", "1GiB"].map((length) => `lengths/${length}`);

const shape: readonly Claim[] = [
  {
    id: "linear",
    text: "cost of a byte at any length up to 64 GiB (1 GiB in the default set), of that at 1 MiB",
    bar: 1.1,
    higher: false,
    unit: "×",
    trials: [...lengthTrials, "lengths/4GiB", "lengths/16GiB", "lengths/64GiB"],
    instead: lengthTrials,
    measure(figures, trials) {
      const [first = 0, ...others] = trials.map((id) => figures.rate(id));
      return first / Math.min(...others);
    },
  },
  {
    id: "concurrent",
    text: "throughput of the slowest of 1, 4, 16, 64 streams as a share of the best",
    bar: 0.85,
    higher: true,
    unit: "×",
    trials: ["concurrent/streams"],
    measure(figures, [trial = ""]) {
      const rates = [1, 4, 16, 64].map((count) =>
        figures.rate(trial, `frameseal native, ${count} at a time`),
      );
      return Math.min(...rates) / Math.max(...rates);
    },
  },
];

export const streamClaims: readonly Claim[] = [...speed, ...memory, ...shape];
