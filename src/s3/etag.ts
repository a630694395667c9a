// Entity tags: which ones may be sent in a condition, and which two name the same bytes.

/**
 * The tag as it may stand in `If-Match` and `CopySourceIfMatch`, or undefined when it may not: those compare strongly, so
 * a server refuses every weak tag (`W/"…"`), which proxies and some stores give. Whoever gets undefined compares with
 * `sameETag` what the answer tells. (RFC 9110, 8.8.3 and 13.1.1)
 */
export function pinnableETag(eTag: string | undefined): string | undefined {
  return eTag === undefined || eTag === "" || isWeak(eTag) ? undefined : eTag;
}

/**
 * True if two tags name the same stored bytes as far as tags can tell: the weak comparison, and with or without quotes,
 * which some servers and many callers leave out. (RFC 9110, 8.8.3.2)
 */
export function sameETag(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && opaqueTag(a) === opaqueTag(b);
}

function isWeak(eTag: string): boolean {
  return /^\s*w\//i.test(eTag);
}

/** What names the bytes in a tag, however it was written. */
export function opaqueTag(eTag: string): string {
  return eTag
    .trim()
    .replace(/^w\//i, "")
    .replace(/^"(.*)"$/, "$1");
}
