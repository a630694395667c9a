// PutObject of bytes that are in memory, past the SDK.
import { isBytes, isReadable } from "../../shapes.ts";
import { BadAnswer, type DirectOperation } from "./direct-operation.ts";
import type { DirectResponse } from "./short-stack.ts";

/** Longer ones take so long that the way does not matter, and may be asked for with `Expect`. */
const MAX_LENGTH = 2 ** 20;

export const directPut: DirectOperation = {
  commandName: "PutObjectCommand",
  kindOf({ Key, Body, Metadata: _, ContentLength: __, ...others }) {
    if (typeof Key !== "string" || !isBytes(Body) || Body.length > MAX_LENGTH) return undefined;
    // A condition that failed would be tried again on what it has made itself.
    if (others.IfMatch !== undefined || others.IfNoneMatch !== undefined) return undefined;
    let text = "";
    for (const [name, value] of Object.entries(others)) {
      if (value === undefined) continue;
      if (typeof value !== "string" && typeof value !== "boolean") return undefined;
      text += `${name}=${JSON.stringify(value)};`;
    }
    return text;
  },
  fieldsOf: ({ Key, Body, Metadata }) => ({
    Key: Key as string,
    Body: Body as Uint8Array,
    Metadata: (Metadata ?? {}) as Record<string, string>,
    VersionId: undefined,
  }),
  async outputOf({ statusCode, headers, body }: DirectResponse) {
    let length = 0;
    if (isReadable(body)) for await (const chunk of body as AsyncIterable<Uint8Array>) length += chunk.length;
    if (statusCode !== 200 || headers.etag === undefined || length > 0) throw new BadAnswer(statusCode);
    return {
      $metadata: { httpStatusCode: 200, requestId: headers["x-amz-request-id"], attempts: 1 },
      ETag: headers.etag,
      VersionId: headers["x-amz-version-id"],
      ServerSideEncryption: headers["x-amz-server-side-encryption"],
      SSEKMSKeyId: headers["x-amz-server-side-encryption-aws-kms-key-id"],
      ChecksumCRC32: headers["x-amz-checksum-crc32"],
    };
  },
  isFinal: () => false,
  // It would look for what it has stored, and then store it again.
  goesOn: false,
};
