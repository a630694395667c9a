// Rows of policy.
import { type Row, row } from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // policy.
  row(["policy"], "--require kms", undefined, { hides: /AES256/, line: () => "policy bucket" }),
  row(["policy"], "--kms-key {kmsKey}", /arn:aws:kms/, { line: () => "policy bucket --require kms" }),
  row(["policy"], "--forbid-sse-c", /customer-algorithm/, { line: () => "policy bucket --require s3" }),
  row(["policy"], "--allow-http", undefined, { hides: /SecureTransport/, line: () => "policy bucket" }),
  row(["policy"], "--partition aws-cn", /arn:aws-cn/, { line: () => "policy bucket" }),
  row(["policy"], "--apply", /^request PUT /m, { line: () => "policy policies --endpoint {s3}" }),
  row(["policy"], "--show", /^request GET /m, { line: () => "policy bucket --endpoint {s3}" }),
  row(["policy"], "--explain policy.json", /plain http/, { line: () => "policy bucket" }),
  row(["policy"], "--json", /^out \d+ \{/m, { line: () => "policy --explain policy.json" }),
];
