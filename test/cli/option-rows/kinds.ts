// What can be typed for options: values that are none, and what the refusal has to say besides the name.
import type { Kind } from "../../support/option-rows.ts";

export const kinds: Readonly<Record<string, Kind>> = {
  bytes: {
    of: [
      ...["--max-plaintext", "--max-frame-length", "--frame-length", "--buffer-size"],
      ...["--part-size", "--memory", "--expected-size"],
    ],
    junk: [
      ...["NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 ", "+1", "1_000", "1,000", "Infinity"],
      ...["9".repeat(30), "\u0661", "1X", "1KK", "K", "null", "1\n"],
    ],
    says: /such as 65536, 64K or 1M/,
  },
  counts: {
    of: ["--max-encrypted-data-keys", "--concurrency", "--rounds", "--round-ms"],
    junk: [
      ...["0", "NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 ", "+1", "1_000", "Infinity"],
      ...["9".repeat(30), "\u0661", "1K", "null"],
    ],
    says: /whole number/,
  },
  times: {
    of: ["--connect-timeout", "--read-timeout", "--timeout"],
    junk: ["0", "0s", "NaN", "1e3", "-1", "0x10", "1.5", " ", " 1", "1 s", "1w", "9".repeat(30), "Infinity"],
    says: /such as 30, 30s, 5m or 2h/,
  },
  suites: {
    of: ["--suite"],
    junk: ["NaN", "0x10", "-1", "1.5", " ", "0x0478 ", "0x0078", "GCM"],
    says: /0x0478/,
  },
  words: {
    of: [
      ...["--type", "--rsa-padding", "--commitment-policy", "--bind", "--addressing", "--format", "--sse"],
      ...["--require", "--checksum-algorithm", "--object-lock-mode"],
    ],
    junk: ["nonsense", " ", "toString", "__proto__", "\u001b[31m"],
    says: /expected .* or |is one of|no such word|is s3, kms|go together/,
  },
  engines: {
    of: ["--engine"],
    junk: ["nonsense", "Native", "native:", "native: ", "web"],
    says: /native, node/,
  },
  partitions: { of: ["--partition"], junk: ["nonsense", "AWS", "aws_cn"], says: /aws-cn/ },
  addresses: {
    of: ["--endpoint", "--kms-endpoint"],
    junk: [
      "nonsense",
      "ftp://127.0.0.1",
      "http:",
      "http://",
      "127.0.0.1:9000",
      "https://u:secret@h",
      "https://h/?a=secret",
    ],
    says: /address/,
  },
  regions: {
    of: ["--region"],
    junk: ["eu west 1", "eu/west", "-eu", "eu.west", "x".repeat(64)],
    says: /eu-central-1/,
  },
  accounts: {
    of: ["--kms-discovery"],
    junk: ["1", "11112222333", "111122223333:", "aws"],
    says: /12 digits/,
  },
  pairs: {
    of: ["--context", "--new-context", "--material-description", "--metadata", "--tag"],
    junk: ["nothing", "=value", "\u202enothing"],
    says: /key=value|name=value|does not go with/,
  },
  dates: {
    of: ["--expires", "--object-lock-until"],
    junk: ["tomorrow", "2030-13-01", "31.12.2030", "1"],
    says: /2030-01-31|go together/,
  },
  ranges: { of: ["--range"], junk: ["5", "a-b", "-", "5-1-2", " 0-1", "0-1,3-4"], says: /first-last/ },
  keyIds: { of: ["--kms"], junk: ["nonsense key", "arn:aws:s3:::bucket", "0".repeat(64)], says: /key/ },
  /** A name that no file has fails, with exit code 1, and names the file; a folder too. */
  files: { of: ["--key", "--sse-c-key", "--from", "--to", "--explain"], junk: [] },
  /** Everything that is not empty can be meant. */
  free: {
    of: [
      ...[
        "--output",
        "--key-namespace",
        "--key-name",
        "--profile",
        "--required-context",
        "--version-id",
        "--if-match",
      ],
      ...[
        "--if-none-match",
        "--expected-bucket-owner",
        "--instruction-file-suffix",
        "--new-instruction-file-suffix",
      ],
      ...["--sse-kms-key", "--spool-folder", "--from-command", "--storage-class", "--acl", "--content-type"],
      ...[
        "--content-encoding",
        "--content-language",
        "--content-disposition",
        "--cache-control",
        "--kms-key",
      ],
      ...["--json", "--html", "--baseline"],
    ],
    junk: [],
  },
};
