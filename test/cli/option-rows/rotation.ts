// Rows of reencrypt, and of rewrap -r.
import { rmSync } from "node:fs";
import path from "node:path";
import {
  done,
  failed,
  type Kind,
  loosely,
  ofTrees,
  type Place,
  type Row,
  row,
  unauthentic,
  untrusted,
} from "../../support/option-rows.ts";

const of = ["reencrypt"];
const both = ["rewrap", "reencrypt"];
const trees = { line: ofTrees() };

/** The line for one object. */
const one =
  (object: string, { from = "a.jwk", to = "b.jwk", more = "" } = {}) =>
  (command = "reencrypt"): string =>
    `${command} --from ${from} --to ${to} ${more} s3://bucket/${object} --endpoint {s3}`;

/** Nothing is remembered of the rows before. */
function forget({ folder }: Place): void {
  rmSync(path.join(folder, "state"), { recursive: true, force: true });
}

/** An answer that the SDK and a run with retries get over. */
function fail(place: Place): void {
  forget(place);
  let left = 3;
  place.server.fault = ({ method, key }) =>
    method === "HEAD" && key === "tree/a.txt" && left-- > 0
      ? { kind: "error", status: 503, code: "SlowDown" }
      : undefined;
}

const stored = /^stored tree\/a\.txt /m;

export const rows: readonly Row[] = [
  // Keys.
  row(of, "--from a.jwk", done, { line: () => "reencrypt --to b.jwk s3://bucket/framed --endpoint {s3}" }),
  row(of, "--to b.jwk", /"keyName":"b"/, {
    line: () => "reencrypt --from a.jwk s3://bucket/framed --endpoint {s3}",
  }),
  row(of, "--key-namespace other", untrusted, { line: one("framed") }),
  row(of, "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: one("framed", { to: "rsa.pub" }),
    after: "verify -k rsa.pem s3://bucket/framed --endpoint {s3}",
  }),
  row(of, "--material-description year=1", /year/, { line: one("single") }),
  row(of, "--kms-endpoint {kms}", done, { line: one("framed", { to: "{kmsKey}" }) }),
  // What is written.
  row(of, "--format framed", /^stored single .*frameseal-format/m, { line: one("single") }),
  row(of, "--frame-length 4K", /"frameLength":4096/, { line: one("framed") }),
  row(of, "--suite 0x0578", failed, { line: one("framed") }),
  row(of, "--new-bind bucket", /"frameseal-bucket"/, { line: one("framed") }),
  row(of, "--plain", /^stored clear /m, {
    line: one("clear"),
    before: ({ server }) => {
      const object = server.object("bucket", "framed");
      server.buckets.get("bucket")?.set("clear", { ...object, headers: {}, body: Buffer.from("in clear") });
    },
  }),
  // What is read.
  row(of, "--bind none", done, { line: one("moved") }),
  row(of, "--instruction-file-suffix .other", done, { line: one("beside") }),
  row(of, "--enable-legacy-wrapping-algorithms", done, {
    line: one("wrapped", { from: "wrapped.jwk", more: loosely }),
  }),
  row(of, "--enable-legacy-unauthenticated-modes", done, {
    line: one("unauthentic", { from: "unauthentic.jwk", more: unauthentic.more }),
  }),
  row(of, "--context x=2", untrusted, { line: one("framed") }),
  row(of, loosely, done, { line: one("loose") }),
  row(of, "--engine native:none", failed, { line: one("framed") }),
  row(of, "--max-frame-length 64", failed, { line: one("framed") }),
  row(of, "--max-encrypted-data-keys 1", failed, { line: one("two") }),
  // Where it is.
  row(of, "--sse-c-key sse-c.key", /customer-algorithm: AES256/, { line: one("framed") }),
  row(of, "--addressing virtual", /^request .*\/\/bucket\.localhost:/m, {
    line: () => one("framed")().replace("{s3}", "{localhost}"),
  }),
  row(of, "--expected-bucket-owner 111122223333", /x-amz-expected-bucket-owner: 111122223333/),
  row(of, "--request-payer", /x-amz-request-payer: requester/),
  row(of, "--endpoint {s3}", /^request .*\/\/127\.0\.0\.1:/m, {
    line: () => `${one("framed")().replace(" --endpoint {s3}", "")} --connect-timeout 1`,
  }),
  row(of, "--region eu-north-1", /\/eu-north-1\/s3\//, { line: one("framed") }),
  row(of, "--profile other", /Credential=OTHER/, { line: one("framed") }),
  row(of, "--connect-timeout 77", /connect 77000 /, { line: one("framed") }),
  row(of, "--read-timeout 77", /read 77000$/m, { line: one("framed") }),
  row(of, "--timeout 7h", /^timer 25200000$/m, { line: one("framed") }),
  // Trees.
  row(of, "--recursive", stored, { line: one("tree/"), before: forget }),
  row(["rewrap"], "--sse-kms-key arn:aws:kms:us-east-1:111122223333:key/new", /^request PUT .*encryption=/m, {
    line: () => "rewrap -r s3://bucket/tree/ --endpoint {s3}",
  }),
  row(both, "--transfers 1", undefined, { ...trees, before: forget, hides: /^at once 2$/m }),
  row(both, "--memory 1M", undefined, { ...trees, before: forget, hides: /^at once 4$/m }),
  row(both, "--bwlimit 16K", /^timer [0-9]+\.[0-9]/m, { ...trees, before: forget }),
  row(both, "--retries 0", /^exit 4\n/, { ...trees, before: fail }),
  row(both, "--journal absent", /absent/, { ...trees, before: forget }),
  row(both, "--no-journal", undefined, { ...trees, before: forget, hides: /state\/frameseal/ }),
  row(both, "--progress", /^interval 200$/m, { ...trees, before: forget }),
  row(both, "--no-progress", undefined, {
    ...trees,
    before: forget,
    terminal: true,
    hides: /^interval 200$/m,
  }),
  row(of, "--json", /"record":"summary"/, { ...trees, before: forget }),
];

export const kinds: Readonly<Record<string, Kind>> = {
  words: { of: ["--new-bind"] },
};
