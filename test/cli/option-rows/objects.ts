// Rows of objects and their fields.
import {
  done,
  failed,
  line,
  lineWith,
  loosely,
  objectReaders,
  objects,
  piped,
  type Row,
  row,
  single,
  unauthentic,
  wrapped,
} from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // Objects.
  row(["put"], "--bind prefix", /"frameseal-prefix"/, {
    line: () => line("put").replace("/new", "/folder/new"),
  }),
  row(objectReaders, "--bind none", done, { line: lineWith({ of: "moved" }) }),
  row(["rewrap"], "--bind none", done, { line: lineWith({ of: "moved" }) }),
  row([...objects], "--sse-c-key sse-c.key", /customer-algorithm: AES256/),
  row(objects, "--addressing virtual", /^request .*\/\/bucket\.localhost:/m, {
    line: (command) => line(command).replace("{s3}", "{localhost}"),
  }),
  row([...objectReaders, "rewrap"], "--instruction-file-suffix .other", done, {
    line: lineWith({ of: "beside" }),
  }),
  row([...objectReaders], "--enable-legacy-wrapping-algorithms", done, { line: lineWith(wrapped) }),
  row(["rewrap"], "--enable-legacy-wrapping-algorithms", done, {
    line: () => `rewrap --from wrapped.jwk --to b.jwk ${loosely} s3://bucket/wrapped --endpoint {s3}`,
  }),
  row(objectReaders, "--enable-legacy-unauthenticated-modes", done, { line: lineWith(unauthentic) }),
  row(["get"], "--buffer-size 1M", /GET[\s\S]*GET/, {
    line: () => line("get", single).replace(" out ", " - "),
  }),
  row(["cat"], "--buffer-size 1M", /GET[\s\S]*GET/, { line: lineWith(single) }),
  row(["cat"], "--range 2-4", /^out 3 /m),
  row(["put"], "--format s3ec-v3", /x-amz-meta-x-amz-c/),
  row(["put"], "--material-description year=1", /year/, { line: lineWith({ more: "--format s3ec-v3" }) }),
  row(["put"], "--instruction-file", /^stored new\.instruction /m, {
    line: lineWith({ more: "--format s3ec-v3" }),
  }),
  row(["put"], "--instruction-file-suffix .mine", /^stored new\.mine /m, {
    line: lineWith({ more: "--format s3ec-v3 --instruction-file" }),
  }),
  row(["put"], "--sse s3", /x-amz-server-side-encryption: AES256/),
  row(["put"], "--sse-kms-key {kmsKey}", /aws-kms-key-id: arn/, { line: lineWith({ more: "--sse kms" }) }),
  row(["put"], "--part-size 5M", /partNumber=3/, { line: () => line("put").replace("plain", "long") }),
  row(["put"], "--concurrency 1", undefined, {
    hides: /^at once 2$/m,
    line: () => line("put", { more: "--part-size 5M" }).replace("plain", "long"),
  }),
  row(["put"], "--memory 16M", failed, { line: () => `${piped} --part-size 20M --spool-folder none` }),
  row(["put"], "--expected-size 120G", undefined, {
    hides: /partNumber=3/,
    line: () => `${piped} --memory 128M`,
  }),
  row(["put"], "--spool-folder none", /err .*--spool-folder/, {
    line: () => `${piped} --memory 16M --part-size 20M`,
  }),
  row(["put"], "--from-command {pipe}", done, {
    line: () => line("put").replace("plain ", ""),
    child: true,
  }),
  row(["put"], "--allow-empty", done, {
    line: () => "put -k a.jwk --from-command true s3://bucket/new --endpoint {s3}",
  }),
  // Fields of S3.
  row(["get", "cat", "verify", "inspect", "rewrap"], "--version-id one", /versionId=one/),
  row(["put"], "--metadata own=1", /x-amz-meta-own: 1/),
  row(["put"], "--tag own=1", /x-amz-tagging: own=1/),
  row(["put"], "--storage-class GLACIER_IR", /x-amz-storage-class: GLACIER_IR/),
  row(["put"], "--acl public-read", /x-amz-acl: public-read/),
  row(["put"], "--checksum-algorithm SHA256", /x-amz-checksum-sha256/),
  row(["put"], "--content-type text/csv", /content-type: text\/csv/i),
  row(["put"], "--content-encoding gzip", /gzip/),
  row(["put"], "--content-language de", /content-language: de/i),
  row(["put"], "--content-disposition inline", /content-disposition: inline/i),
  row(["put"], "--cache-control no-store", /cache-control: no-store/i),
  row(["put"], "--expires 2030-01-31", /expires: .*2030/i),
  row(
    ["put"],
    "--object-lock-mode GOVERNANCE --object-lock-until 2030-01-31",
    /x-amz-object-lock-mode: GOVERNANCE/,
  ),
  row(
    ["put"],
    "--object-lock-until 2030-01-31 --object-lock-mode GOVERNANCE",
    /x-amz-object-lock-retain-until-date: 2030-01-31/,
  ),
  row(["put"], "--object-lock-legal-hold", /x-amz-object-lock-legal-hold: ON/),
  row(["put"], "--no-overwrite", /if-none-match: \*/),
  row(["put", ...objectReaders], "--if-match {eTag}", /if-match: "/),
  row(objectReaders, "--if-none-match {eTag}", /if-none-match: "/),
  row(objects, "--expected-bucket-owner 111122223333", /x-amz-expected-bucket-owner: 111122223333/),
  row(objects, "--request-payer", /x-amz-request-payer: requester/),
];
