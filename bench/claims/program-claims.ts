// Claims of whole programs, ranges and transfers.
import { atLeast, atMost, type Claim, faster, slower } from "./claim.ts";

const MiB = 2 ** 20;
const ours = "frameseal";
const sizes = (name: string) => ({ trial: `${name}/4GiB`, instead: `${name}/1GiB` });

const files: readonly Claim[] = [
  slower({
    id: "file-copy",
    text: "frameseal encrypt of a file to a file, not synced, wall time against cp",
    bar: 1.1,
    ...sizes("files/copy"),
    peer: "cp",
    name: ours,
  }),
  slower({
    id: "file-copy-sync",
    text: "frameseal encrypt of a file to a file, on disk before it ends, against cp && sync",
    bar: 1.1,
    trial: "files/copy-sync/4GiB",
    instead: "files/copy-sync/1GiB",
    peer: "cp && sync",
    name: ours,
  }),
  ...(
    [
      ["age", 3, "age"],
      ["openssl", 2.5, "openssl enc -aes-256-ctr (no authentication)"],
      ["gpg", 1, "gpg --symmetric"],
    ] as const
  ).map(([id, bar, peer]) =>
    faster({
      id: `file-${id}`,
      text: `a file to /dev/null against ${peer}`,
      bar,
      ...sizes("files/null"),
      peer,
      name: ours,
    }),
  ),
  ...(["rclone crypt", "restic backup"] as const).map((peer) =>
    faster({
      id: `file-${peer.split(" ")[0]}`,
      text: `a file of 1 GiB to encrypted files against ${peer}`,
      bar: 1,
      trial: "files/store/1GiB",
      peer,
      name: ours,
    }),
  ),
  atLeast(
    {
      id: "pipe",
      text: "cat | encrypt | decrypt > /dev/null",
      bar: 1.5,
      unit: "GB/s",
      ...sizes("pipes/there-and-back"),
    },
    (figures, trial) => figures.rate(trial, ours) / 1e9,
  ),
  faster({
    id: "pipe-age",
    text: "cat | encrypt | decrypt > /dev/null against age",
    bar: 1,
    ...sizes("pipes/there-and-back"),
    peer: "age",
    name: ours,
  }),
];

const startTrials = [
  ["start", "frameseal encrypt of 1 KiB, more than node -e 0", 60, "starts/encrypt"],
  ["import", "importing the library, more than node -e 0", 25, "starts/import"],
] as const;
const starts: readonly Claim[] = startTrials.map(([id, text, bar, trial]) =>
  atMost(
    { id, text, bar, unit: "ms", trial },
    (figures) => 1000 / figures.rate(trial, ours) - 1000 / figures.rate(trial, "node -e 0"),
  ),
);

const ranges: readonly Claim[] = [
  ...(
    [
      ["aligned", 20_000, "on frames"],
      ["unaligned", 10_000, "at any byte"],
    ] as const
  ).map(([name, bar, where]) =>
    atLeast(
      {
        id: `ranges-${name}`,
        text: `random ranges of 64 KiB of 4 GiB (1 GiB in the default set), 8 in flight, ${where}`,
        bar,
        unit: "/s",
        ...sizes(`ranges/${name}`),
      },
      (figures, trial) => figures.rate(trial),
    ),
  ),
  atMost(
    {
      id: "range-requests",
      text: "requests over HTTP for a range of 64 KiB at any byte",
      bar: 1,
      unit: "requests",
      trial: "ranges/http-unaligned",
    },
    (figures, trial) => figures.figure(trial, "frameseal native", "requests a range"),
  ),
  atMost(
    {
      id: "open-requests",
      text: "requests over HTTP to open a message for ranges",
      bar: 2,
      unit: "requests",
      trial: "ranges/http-unaligned",
    },
    (figures, trial) => figures.figure(trial, "frameseal native", "requests to open"),
  ),
];

const transfers: readonly Claim[] = (
  [
    ["put", "upload"],
    ["get", "download"],
  ] as const
).flatMap(([verb, word]) => {
  const trial = { trial: `s3/${verb}/1GiB`, instead: `s3/${verb}/128MiB` };
  return [
    slower({
      id: `s3-${word}`,
      text: `S3 ${word} of 1 GiB (128 MiB in the default set), wall time against the AWS SDK alone`,
      bar: 1.1,
      ...trial,
      peer: "AWS SDK alone",
      name: "frameseal, framed",
    }),
    slower({
      id: `s3-${word}-s3ec`,
      text: `S3 ${word} as a single-message object, wall time against the AWS SDK alone`,
      bar: 1.1,
      ...trial,
      peer: "AWS SDK alone",
      name: "frameseal, S3 Encryption Client V3",
    }),
    atMost(
      {
        id: `s3-${word}-memory`,
        text: `peak memory of an S3 ${word}, framed`,
        bar: 250,
        unit: "MiB",
        ...trial,
      },
      (figures, id) => figures.peak(id, "frameseal, framed") / MiB,
    ),
  ];
});

export const programClaims: readonly Claim[] = [...files, ...starts, ...ranges, ...transfers];
