// Every speed that was promised, as a ratio or figure of named trials.
import type { ClaimResult, SubjectResult, TrialResult } from "./result.ts";

/** What claims are computed from. */
export interface ClaimsContext {
  readonly trials: readonly TrialResult[];
}

interface Claim {
  readonly id: string;
  readonly text: string;
  readonly bar: number;
  readonly higher: boolean;
  readonly unit: string;
  /** @throws MissingFigure */
  readonly measure: (figures: Figures) => number;
}

class MissingFigure extends Error {}

const KiB = 1024;
const MiB = 1024 * KiB;

/** Figures of a run by the names of trials and subjects. */
class Figures {
  readonly #trials: ReadonlyMap<string, TrialResult>;

  constructor({ trials }: ClaimsContext) {
    this.#trials = new Map(trials.map((trial) => [trial.id, trial]));
  }

  subject(id: string, name: string) {
    const trial = this.#trials.get(id);
    if (trial === undefined) throw new MissingFigure(`the trial ${id} was not run`);
    const found = trial.subjects.find((subject) => subject.name === name) ?? bestKernel(trial, name);
    if (found === undefined) throw new MissingFigure(`${name} is not in ${id}`);
    if (found.notRun !== undefined) throw new MissingFigure(`${name}: ${found.notRun}`);
    return found;
  }
  rate(id: string, name = "frameseal native"): number {
    return this.subject(id, name).median ?? Number.NaN;
  }
  ratio(id: string, peer: string, name = "frameseal native"): number {
    return this.rate(id, name) / this.rate(id, peer);
  }
  peak(id: string, name = "frameseal native"): number {
    const { peakBytes } = this.subject(id, name);
    if (peakBytes === undefined) throw new MissingFigure(`${id} has no memory figure`);
    return peakBytes;
  }
}

// Where kernels are measured by name, "frameseal native" is the fastest of them.
function bestKernel(trial: TrialResult, name: string): SubjectResult | undefined {
  return trial.subjects
    .filter((subject) => subject.kind === "frameseal" && subject.name.startsWith(`${name}:`))
    .toSorted((a, b) => (b.median ?? 0) - (a.median ?? 0))[0];
}

const ratio = (
  id: string,
  bar: number,
  trial: string,
  peer: string,
  text: string,
  name = "frameseal native",
): Claim => ({
  id,
  text,
  bar,
  higher: true,
  unit: "×",
  measure: (figures) => figures.ratio(trial, peer, name),
});

const perFrame = "node:crypto per frame";
const clientNode = "@aws-crypto/client-node";
const cipheriv = "createCipheriv Transform";

const claims: readonly Claim[] = [
  ratio("frames-64k", 5, "frames/seal/64KiB", perFrame, "runs of frames of 64 KiB against node:crypto"),
  ratio("frames-1m", 5, "frames/seal/1MiB", perFrame, "frames of 1 MiB against node:crypto"),
  ratio("frames-4k", 10, "frames/seal/4KiB", perFrame, "frames of 4 KiB against node:crypto"),
  ratio(
    "frames-64k-node24",
    4,
    "frames/seal/64KiB",
    `${perFrame}, Node 24`,
    "frames of 64 KiB against node:crypto of Node 24",
  ),
  ratio(
    "frames-1m-node24",
    3.5,
    "frames/seal/1MiB",
    `${perFrame}, Node 24`,
    "frames of 1 MiB against node:crypto of Node 24",
  ),
  ratio(
    "frames-4k-node24",
    20,
    "frames/seal/4KiB",
    `${perFrame}, Node 24`,
    "frames of 4 KiB against node:crypto of Node 24",
  ),
  ratio(
    "frames-evp35",
    1.3,
    "frames/seal/64KiB",
    "frameseal native:openssl, Node 24",
    "against OpenSSL 3.5 called from an addon on Node 24",
  ),
  ratio(
    "frames-vaes512",
    3,
    "frames/seal/64KiB",
    "frameseal native:openssl",
    "vaes512 against OpenSSL 3.0 EVP, through JavaScript",
    "frameseal native:vaes512",
  ),
  ratio(
    "frames-vaes256",
    2,
    "frames/seal/64KiB",
    "frameseal native:openssl",
    "vaes256 against OpenSSL 3.0 EVP, through JavaScript",
    "frameseal native:vaes256",
  ),
  ratio(
    "frames-aesni",
    1.2,
    "frames/seal/64KiB",
    "frameseal native:openssl",
    "aesni against OpenSSL 3.0 EVP, through JavaScript",
    "frameseal native:aesni",
  ),
  {
    id: "frames-4k-of-64k",
    text: "frames of 4 KiB as a share of frames of 64 KiB",
    bar: 0.6,
    higher: true,
    unit: "×",
    measure: (figures) => figures.rate("frames/seal/4KiB") / figures.rate("frames/seal/64KiB"),
  },
  {
    id: "sealed-16-bytes",
    text: "a sealed message of 16 bytes",
    bar: 250,
    higher: false,
    unit: "ns",
    measure: (figures) => (16 / figures.rate("calls/seal/16B")) * 1e9,
  },
  ratio(
    "async-evp",
    2.5,
    "scaling/seal/2-threads",
    "frameseal native:openssl",
    "two threads against the same through OpenSSL",
  ),
  ratio(
    "async-sync",
    1,
    "scaling/seal/2-threads",
    "frameseal native, one synchronous thread",
    "two threads against one synchronous thread",
  ),
  {
    id: "messages-1m",
    text: "encrypt + decrypt of 1 MiB against the Node engine",
    bar: 3,
    higher: true,
    unit: "×",
    measure: (figures) =>
      roundTrip(figures, "1MiB", "frameseal node") / roundTrip(figures, "1MiB", "frameseal native"),
  },
  {
    id: "messages-128m",
    text: "encrypt + decrypt of 128 MiB against the Node engine",
    bar: 2,
    higher: true,
    unit: "×",
    measure: (figures) =>
      roundTrip(figures, "128MiB", "frameseal node") / roundTrip(figures, "128MiB", "frameseal native"),
  },
  ratio(
    "stream-cipheriv-64k",
    2.5,
    "streams/seal/frames-64KiB/chunks-64KiB",
    cipheriv,
    "stream, chunks of 64 KiB, against createCipheriv",
  ),
  ratio(
    "stream-cipheriv-1m",
    3,
    "streams/seal/frames-64KiB/chunks-1MiB",
    cipheriv,
    "stream, chunks of 1 MiB, against createCipheriv",
  ),
  ...(["seal", "open"] as const).flatMap((direction) => [
    ratio(
      `stream-${direction}-4k-client-node`,
      30,
      `streams/${direction}/frames-4KiB/chunks-64KiB`,
      clientNode,
      `stream, ${direction}, frames of 4 KiB, against client-node`,
    ),
    ratio(
      `stream-${direction}-64k-client-node`,
      direction === "seal" ? 12 : 7,
      `streams/${direction}/frames-64KiB/chunks-64KiB`,
      clientNode,
      `stream, ${direction}, frames of 64 KiB, against client-node`,
    ),
    ratio(
      `stream-${direction}-1m-client-node`,
      7,
      `streams/${direction}/frames-1MiB/chunks-64KiB`,
      clientNode,
      `stream, ${direction}, frames of 1 MiB, against client-node`,
    ),
  ]),
  {
    id: "stream-open-as-seal",
    text: "opening a stream as a share of sealing it",
    bar: 1,
    higher: true,
    unit: "×",
    measure: (figures) =>
      figures.rate("streams/open/frames-64KiB/chunks-1MiB") /
      figures.rate("streams/seal/frames-64KiB/chunks-1MiB"),
  },
  ratio(
    "node-engine-4k-seal",
    4,
    "streams/seal/frames-4KiB/chunks-64KiB",
    clientNode,
    "Node engine, frames of 4 KiB, seal, against client-node",
    "frameseal node",
  ),
  ratio(
    "node-engine-4k-open",
    3,
    "streams/open/frames-4KiB/chunks-64KiB",
    clientNode,
    "Node engine, frames of 4 KiB, open, against client-node",
    "frameseal node",
  ),
  ratio(
    "node-engine-64k-seal",
    3,
    "streams/seal/frames-64KiB/chunks-64KiB",
    clientNode,
    "Node engine, frames of 64 KiB, seal, against client-node",
    "frameseal node",
  ),
  ratio(
    "node-engine-64k-open",
    2,
    "streams/open/frames-64KiB/chunks-64KiB",
    clientNode,
    "Node engine, frames of 64 KiB, open, against client-node",
    "frameseal node",
  ),
  {
    id: "stream-memory",
    text: "peak memory of a stream of 16 GiB",
    bar: 120,
    higher: false,
    unit: "MiB",
    measure: (figures) => figures.peak("memory/stream") / MiB,
  },
  {
    id: "stream-memory-64g",
    text: "peak memory of a stream of 64 GiB",
    bar: 120,
    higher: false,
    unit: "MiB",
    measure: (figures) => figures.peak("memory/long-stream") / MiB,
  },
  {
    id: "start",
    text: "frameseal encrypt of 1 KiB, more than node -e 0",
    bar: 60,
    higher: false,
    unit: "ms",
    measure: (figures) =>
      1000 / figures.rate("starts/encrypt", "frameseal") - 1000 / figures.rate("starts/encrypt", "node -e 0"),
  },
  {
    id: "import",
    text: "importing the library, more than node -e 0",
    bar: 25,
    higher: false,
    unit: "ms",
    measure: (figures) =>
      1000 / figures.rate("starts/import", "frameseal") - 1000 / figures.rate("starts/import", "node -e 0"),
  },
  {
    id: "file-copy",
    text: "frameseal encrypt of a file to a file, wall time against cp",
    bar: 1.1,
    higher: false,
    unit: "×",
    measure: (figures) => 1 / figures.ratio("files/copy", "cp", "frameseal"),
  },
  ratio("file-age", 3, "files/null", "age", "a file to /dev/null against age", "frameseal"),
  ratio(
    "file-openssl",
    2.5,
    "files/null",
    "openssl enc -aes-256-ctr (no authentication)",
    "a file to /dev/null against openssl enc",
    "frameseal",
  ),
  ratio("file-gpg", 1, "files/null", "gpg --symmetric", "a file to /dev/null against gpg", "frameseal"),
  ratio("file-rclone", 1, "files/null", "rclone crypt", "a file against rclone crypt", "frameseal"),
  {
    id: "pipe",
    text: "cat | encrypt | decrypt > /dev/null",
    bar: 1.5,
    higher: true,
    unit: "GB/s",
    measure: (figures) => figures.rate("pipes/there-and-back", "frameseal") / 1e9,
  },
  ratio("pipe-age", 1, "pipes/there-and-back", "age", "the same against age", "frameseal"),
  {
    id: "ranges-aligned",
    text: "random ranges of 64 KiB on frames, 8 in flight",
    bar: 20_000,
    higher: true,
    unit: "/s",
    measure: (figures) => figures.rate("ranges/aligned"),
  },
  {
    id: "ranges-unaligned",
    text: "random ranges of 64 KiB at any byte, 8 in flight",
    bar: 10_000,
    higher: true,
    unit: "/s",
    measure: (figures) => figures.rate("ranges/unaligned"),
  },
  {
    id: "concurrent",
    text: "throughput of the slowest of 1, 4, 16, 64 streams as a share of the best",
    bar: 0.85,
    higher: true,
    unit: "×",
    measure(figures) {
      const rates = [1, 4, 16, 64].map((count) => figures.rate(`concurrent/${count}-streams`));
      return Math.min(...rates) / Math.max(...rates);
    },
  },
];

// Seconds for one message there and back.
function roundTrip(figures: Figures, size: string, name: string): number {
  return 1 / figures.rate(`messages/seal/${size}`, name) + 1 / figures.rate(`messages/open/${size}`, name);
}

/** All claims, with what this run says of them. */
export function claimsOf(context: ClaimsContext): ClaimResult[] {
  const figures = new Figures(context);
  return claims.map(({ measure, ...claim }) => {
    try {
      const measured = measure(figures);
      return { ...claim, measured, held: claim.higher ? measured >= claim.bar : measured <= claim.bar };
    } catch (error) {
      if (error instanceof MissingFigure) return { ...claim, notRun: error.message };
      throw error;
    }
  });
}
