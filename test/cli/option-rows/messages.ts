// Rows of keys, messages, reports and files, which several commands share.
import {
  done,
  existing,
  failed,
  files,
  forbid,
  line,
  lineWith,
  loosely,
  messages,
  type Row,
  readers,
  reporting,
  row,
  untrusted,
  writers,
} from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // Keys.
  row(messages, "--key a.jwk", done, { line: lineWith({ key: "" }) }),
  row(writers, "--key-namespace other", /"providerId":"other"/),
  row(readers, "--key-namespace other", untrusted),
  row(writers, "--key-name other", /"keyName":"other"/),
  row(readers, "--key-name other", untrusted),
  row(["encrypt"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: lineWith({ key: "-k rsa.pub" }),
    after: "decrypt -k rsa.pem out -o opened",
  }),
  row(["put"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: lineWith({ key: "-k rsa.pub" }),
    after: "verify -k rsa.pem s3://bucket/new --endpoint {s3}",
  }),
  row(readers, "--rsa-padding OAEP-SHA-512", untrusted, { line: lineWith({ key: "-k rsa.pem", of: "rsa" }) }),
  row(["encrypt", "put"], "--kms {kmsKey} --kms-endpoint {kms}", /"kind":"AWS KMS"/),
  row(readers, "--kms {kmsKey} --kms-endpoint {kms}", done, { line: lineWith({ key: "", of: "kms" }) }),
  row(readers, "--kms-discovery {account} --kms-endpoint {kms}", done, {
    line: lineWith({ key: "", of: "kms" }),
  }),
  row(messages, "--kms-endpoint {kms}", done, {
    line: (command) =>
      `${line(command, { key: "--kms {kmsKey}", of: "kms" })}${files.includes(command) ? " --endpoint {s3}" : ""}`,
  }),
  // Messages.
  row(writers, "--context x=1", /"encryptionContext":\{[^}]*"x":"1"/),
  row([...readers, "rewrap"], "--context x=2", untrusted),
  row(writers, forbid, /"suite":"0x0178"/),
  row([...readers, "rewrap"], loosely, done, { line: lineWith({ of: "loose" }) }),
  row([...messages, "rewrap"], "--engine native:none", failed),
  row(messages, "--max-plaintext 10", failed),
  row([...readers, "rewrap"], "--max-frame-length 16", failed),
  row(writers, "--max-frame-length 128M", done, { line: lineWith({ more: "--frame-length 100M" }) }),
  row([...readers, "rewrap"], "--max-encrypted-data-keys 1", failed, { line: lineWith({ of: "two" }) }),
  row(writers, "--max-encrypted-data-keys 1", failed, { line: lineWith({ key: "-k a.jwk -k b.jwk" }) }),
  row(writers, "--frame-length 4K", /"frameLength":4096/),
  row(writers, "--suite 0x0146", /"suite":"0x0146"/, { line: lineWith({ more: forbid }) }),
  row(writers, "--required-context x", /"encryptionContext":\{("frameseal-key":"new")?\}/, {
    line: lineWith({ more: "-c x=1" }),
  }),
  // Reports.
  row(reporting, "--progress", /^interval 200$/m),
  row(reporting, "--no-progress", undefined, { hides: /^interval 200$/m, terminal: true }),
  row([...reporting, "inspect", "rewrap"], "--json", /^(out \d+|err) \{/m),
  // Files.
  row(files, "--output out", /^file out /m, {
    line: (command) => line(command).replace(" -o out", ""),
    child: true,
  }),
  row([...files, "get"], "--force", done, existing),
  row([...files, "get"], "--no-sync", undefined, { hides: /^sync$/m }),
  row(["keygen"], "--output new", /^file new /m),
  row(["keygen"], "--type rsa", /^file new\.pub /m, { line: () => "keygen -o new" }),
  row(["keygen"], "--json", /^out \d+ \{"file":"new"/m, { line: () => "keygen -o new" }),
];
