// The range of a plaintext that somebody asks for, as the `Range` header has it.
import { FramesealError } from "../errors.ts";
import { quote } from "../quote.ts";

/** A range of plaintext as it was asked for; ends are inclusive, as in the `Range` header. */
export type RequestedRange =
  | { readonly kind: "from"; readonly first: number; readonly last?: number | undefined }
  | { readonly kind: "suffix"; readonly length: number };

/** Parses a `Range` header. @throws RangeError for what S3 does not take */
export function parseRange(value: string): RequestedRange {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(value.trim());
  const [, first = "", last = ""] = match ?? [];
  if (
    match === null ||
    (first === "" && last === "") ||
    (last !== "" && first !== "" && Number(last) < Number(first))
  )
    throw new RangeError(
      `"Range" expected bytes=first-last, bytes=first- or bytes=-length, got ${quote(String(value))}`,
    );
  if (first === "") return { kind: "suffix", length: Number(last) };
  return last === ""
    ? { kind: "from", first: Number(first) }
    : { kind: "from", first: Number(first), last: Number(last) };
}

/**
 * Resolves what a `Range` header asks for. (RFC 9110, 14.1.2)
 * @throws FramesealError RANGE_NOT_SATISFIABLE
 */
export function resolveRequestedRange(range: RequestedRange, length: number): { start: number; end: number } {
  const start = range.kind === "from" ? range.first : Math.max(0, length - range.length);
  const end = range.kind === "from" ? Math.min(length, (range.last ?? length) + 1) : length;
  if (start >= length || end <= start)
    throw Object.assign(
      new FramesealError("RANGE_NOT_SATISFIABLE", `range lies outside the plaintext of ${length} bytes`),
      { $metadata: { httpStatusCode: 416 } },
    );
  return { start, end };
}
