// What a listing says of one object. Nothing of it is verified, but it must be something that S3 could say: sizes decide
// how much memory is taken, and keys which objects are meant.
import { FramesealError } from "../errors.ts";
import { quote } from "../quote.ts";
import { decodeKey } from "../s3/requests/list.ts";

/** @throws FramesealError UNSUPPORTED for what cannot be a key below the prefix */
export function listedKeyOf(
  text: string | undefined = "",
  encodingType: string | undefined,
  prefix: string,
): string {
  const key = encodingType === "url" ? decodeKey(text) : text;
  // Taken as it stands, it would be the key of another object.
  if (key === undefined)
    throw new FramesealError("UNSUPPORTED", `the server lists ${quote(text)}, which is no UTF-8`);
  if (!key.startsWith(prefix))
    throw new FramesealError("UNSUPPORTED", "the server lists keys that do not begin with the prefix");
  return key;
}

/** @throws FramesealError UNSUPPORTED for what is no size */
export function listedSizeOf(size: number | undefined): number {
  if (size === undefined || !Number.isSafeInteger(size) || size < 0)
    throw new FramesealError("UNSUPPORTED", "the listing of the server has no sizes");
  return size;
}
