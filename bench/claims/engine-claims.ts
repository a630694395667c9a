// Claims of kernels, engines and whole messages.
import { atLeast, atMost, type Claim, type Figures, faster, spaced } from "./claim.ts";

const evp = "openssl-evp";
const intel = "intel-ipsec-mb";
const perFrame = "node:crypto per frame";
const throughJavaScript = "frameseal native, through JavaScript";

const kernels: readonly Claim[] = [
  ...(["64KiB", "1MiB"] as const).flatMap((length): Claim[] => {
    const trial = `kernels/seal/${length}`;
    return [
      faster({
        id: `kernel-vaes512-evp-${length}`,
        text: `kernel vaes512 in C++, ${spaced(length)}, against OpenSSL's EVP`,
        bar: 3,
        trial,
        peer: evp,
        name: "vaes512",
      }),
      faster({
        id: `kernel-vaes512-intel-${length}`,
        text: `kernel vaes512 in C++, ${spaced(length)}, against intel-ipsec-mb`,
        bar: 1.25,
        trial,
        peer: intel,
        name: "vaes512",
      }),
      atMost(
        {
          id: `kernel-vaes512-cycles-${length}`,
          text: `kernel vaes512 in C++, ${spaced(length)}`,
          bar: 17,
          unit: "cycles a 64 bytes",
          trial,
        },
        (figures) => figures.figure(trial, "vaes512", "cycles a 64 bytes"),
      ),
      faster({
        id: `kernel-vaes256-evp-${length}`,
        text: `kernel vaes256 in C++, ${spaced(length)}, against OpenSSL's EVP`,
        bar: 2,
        trial,
        peer: evp,
        name: "vaes256",
      }),
      faster({
        id: `kernel-aesni-evp-${length}`,
        text: `kernel aesni in C++, ${spaced(length)}, against OpenSSL's EVP`,
        bar: 1.2,
        trial,
        peer: evp,
        name: "aesni",
      }),
    ];
  }),
  atLeast(
    {
      id: "javascript-of-kernel",
      text: "runs of 1 MiB in frames of 64 KiB through JavaScript, of the kernel alone",
      bar: 0.93,
      unit: "×",
      trial: "kernels/seal/64KiB",
    },
    (figures, trial) =>
      figures.rate(trial, throughJavaScript) / figures.rateOfBest(trial, ["vaes512", "vaes256", "aesni"]),
  ),
  atMost(
    {
      id: "key-set-up",
      text: "key expansion, once a message, in C++",
      bar: 0.5,
      unit: "µs",
      trial: "kernels/key-set-up",
    },
    (figures, trial) => 1e6 / figures.rateOfBest(trial, ["vaes512", "vaes256", "aesni"]),
  ),
];

const frames: readonly Claim[] = [
  ...(
    [
      ["64KiB", 5, 4],
      ["1MiB", 5, 3.5],
      ["4KiB", 10, 20],
    ] as const
  ).flatMap(([length, bar, bar24]) => [
    faster({
      id: `frames-${length}`,
      text: `frames of ${spaced(length)} against node:crypto`,
      bar,
      trial: `frames/seal/${length}`,
      peer: perFrame,
    }),
    faster({
      id: `frames-${length}-node24`,
      text: `frames of ${spaced(length)} against node:crypto of Node 24`,
      bar: bar24,
      trial: `frames/seal/${length}`,
      peer: `${perFrame}, Node 24`,
    }),
  ]),
  faster({
    id: "frames-evp35",
    text: "frames of 64 KiB against OpenSSL 3.5 in an addon on Node 24",
    bar: 1.3,
    trial: "frames/seal/64KiB",
    peer: "frameseal native:openssl, Node 24",
  }),
  {
    id: "frames-4k-of-64k",
    text: "frames of 4 KiB as a share of frames of 64 KiB",
    bar: 0.6,
    higher: true,
    unit: "×",
    trials: ["frames/seal/4KiB", "frames/seal/64KiB"],
    measure: (figures) => figures.rate("frames/seal/4KiB") / figures.rate("frames/seal/64KiB"),
  },
  atMost(
    {
      id: "sealed-16-bytes",
      text: "a sealed message of 16 bytes",
      bar: 250,
      unit: "ns",
      trial: "calls/seal/16B",
    },
    (figures, trial) => (16 / figures.rate(trial)) * 1e9,
  ),
  faster({
    id: "async-evp",
    text: "two threads against OpenSSL on two threads",
    bar: 2.5,
    trial: "scaling/seal/2-threads",
    peer: "frameseal native:openssl",
  }),
  faster({
    id: "async-sync",
    text: "two threads against one synchronous thread",
    bar: 1,
    trial: "scaling/seal/2-threads",
    peer: "frameseal native, one synchronous thread",
  }),
];

// Seconds for one message there and back.
function roundTrip(figures: Figures, [seal = "", open = ""]: readonly string[], name: string): number {
  return 1 / figures.rate(seal, name) + 1 / figures.rate(open, name);
}

const messages: readonly Claim[] = (
  [
    ["1MiB", 3],
    ["128MiB", 2],
  ] as const
).map(([length, bar]) => ({
  id: `messages-${length}`,
  text: `encrypt + decrypt of ${spaced(length)} against the Node engine`,
  bar,
  higher: true,
  unit: "×",
  trials: [`messages/seal/${length}`, `messages/open/${length}`],
  measure: (figures, trials) =>
    roundTrip(figures, trials, "frameseal node") / roundTrip(figures, trials, "frameseal native"),
}));

export const engineClaims: readonly Claim[] = [...kernels, ...frames, ...messages];
