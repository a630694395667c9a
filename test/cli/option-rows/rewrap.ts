// Rows of rewrap.
import { done, failed, line, lineWith, type Row, row, single, untrusted } from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // rewrap.
  row(["rewrap"], "--from a.jwk", done, {
    line: () => "rewrap --to b.jwk s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--to b.jwk", done, {
    line: () => "rewrap --from a.jwk s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--enforce-rotation", failed, { line: () => line("rewrap").replace("b.jwk", "a.jwk") }),
  row(["rewrap"], "--new-context n=1", /"n":"1"/),
  row(["rewrap"], "--material-description year=1", /year/, { line: lineWith(single) }),
  row(["rewrap"], "--new-instruction-file-suffix .new", /^stored beside\.new /m, {
    line: lineWith({ of: "beside", more: "--instruction-file-suffix .other" }),
  }),
  row(["rewrap"], "--key-namespace other", untrusted),
  row(["rewrap"], "--rsa-padding OAEP-SHA-1", /then exit 3/, {
    line: () => line("rewrap").replace("b.jwk", "rsa.pub"),
    after: "verify -k rsa.pem s3://bucket/framed --endpoint {s3}",
  }),
  row(["rewrap"], "--kms-endpoint {kms}", done, { line: () => line("rewrap").replace("b.jwk", "{kmsKey}") }),
];
