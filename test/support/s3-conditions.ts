// Conditions of requests that read, as the strict S3 server checks them. (S3 API, GetObject and CopyObject)
import type { IncomingHttpHeaders } from "node:http";
import { S3Error } from "./s3-error.ts";

interface Conditioned {
  readonly eTag: string;
  readonly modified: Date;
}

/** What the headers of one request ask for. */
interface Conditions {
  readonly match: string | undefined;
  readonly noneMatch: string | undefined;
  readonly modifiedSince: string | undefined;
  readonly unmodifiedSince: string | undefined;
}

/** @throws S3Error 412, or 304 for what has not changed */
export function checkReadConditions(headers: IncomingHttpHeaders, object: Conditioned): void {
  const failed = check(conditionsOf(headers, ""), object);
  if (failed === "failed") throw new S3Error(412, "PreconditionFailed");
  if (failed === "unchanged") throw new S3Error(304, "NotModified");
}

/** @throws S3Error 412 */
export function checkCopyConditions(headers: IncomingHttpHeaders, source: Conditioned): void {
  if (check(conditionsOf(headers, "x-amz-copy-source-"), source) !== "met")
    throw new S3Error(412, "PreconditionFailed");
}

function conditionsOf(headers: IncomingHttpHeaders, prefix: string): Conditions {
  const named = (name: string): string | undefined =>
    headers[`${prefix}${name}`] === undefined ? undefined : String(headers[`${prefix}${name}`]);
  return {
    match: named("if-match"),
    noneMatch: named("if-none-match"),
    modifiedSince: named("if-modified-since"),
    unmodifiedSince: named("if-unmodified-since"),
  };
}

// A tag that is given decides, whatever the date says.
function check(conditions: Conditions, { eTag, modified }: Conditioned): "met" | "failed" | "unchanged" {
  const { match, noneMatch, modifiedSince, unmodifiedSince } = conditions;
  const seconds = Math.floor(modified.getTime() / 1000) * 1000;
  // Conditions compare strongly: a weak tag equals none.
  if (match !== undefined) {
    if (match !== eTag || match.startsWith("W/")) return "failed";
  } else if (unmodifiedSince !== undefined && seconds > Date.parse(unmodifiedSince)) return "failed";
  if (noneMatch !== undefined) return noneMatch === eTag || noneMatch === "*" ? "unchanged" : "met";
  return modifiedSince !== undefined && seconds <= Date.parse(modifiedSince) ? "unchanged" : "met";
}
