// What get, cat and verify share: the verified plaintext of an object, chunk by chunk.
import type { GetObjectCommandInput, S3Client } from "@aws-sdk/client-s3";
import type { AuthenticationMode } from "../s3/single-message/body.ts";
import { CommandFailure } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { fieldsFrom } from "./object-fields.ts";
import { Progress, type ProgressChoice } from "./progress.ts";
import { createEncryptingClient, type ObjectAddress, type ObjectOptions } from "./s3-options.ts";

/** What was read of an object. */
export interface ObjectRead {
  /** Bytes of plaintext. */
  readonly length: number;
  readonly contentRange: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Fetches an object, or a range of it, and hands on what is verified. `sink` gets one chunk at a time, which is its
 * own until it resolves.
 * @param how with the mode `delayed` chunks of an `s3ec` object come before its tag was compared: only for a sink that
 * shows nothing before the end
 */
export async function readObject(
  address: ObjectAddress,
  options: ObjectOptions & { readonly progress?: ProgressChoice },
  label: string,
  sink: (chunk: Uint8Array) => Promise<void> | void,
  how: { readonly range?: string | undefined; readonly authentication?: AuthenticationMode } = {},
): Promise<ObjectRead> {
  const client = await createEncryptingClient(options, "decrypt", how.authentication);
  const progress = new Progress(label, options.progress);
  try {
    const request = {
      ...address,
      ...fieldsFrom(options),
      ...(how.range === undefined ? {} : { Range: how.range }),
    };
    return await pump(client, request, sink, options.maxPlaintext, progress);
  } finally {
    progress.stop();
    client.destroy();
  }
}

async function pump(
  client: S3Client,
  request: GetObjectCommandInput,
  sink: (chunk: Uint8Array) => Promise<void> | void,
  maxPlaintext: number | undefined,
  progress: Progress,
): Promise<ObjectRead> {
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  const output = await client.send(new GetObjectCommand(request), { abortSignal: interruptSignal });
  const check = (length = 0): void => {
    if (maxPlaintext !== undefined && length > maxPlaintext)
      throw new CommandFailure(`the object has more than --max-plaintext ${maxPlaintext} bytes`);
  };
  let length = 0;
  for await (const chunk of output.Body as AsyncIterable<Uint8Array>) {
    interruptSignal.throwIfAborted();
    check(length + chunk.length);
    await sink(chunk);
    length += chunk.length;
    progress.update(length, output.ContentLength);
  }
  interruptSignal.throwIfAborted();
  return { length, contentRange: output.ContentRange, metadata: output.Metadata ?? {} };
}
