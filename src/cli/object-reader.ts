// What get, cat and verify share: the verified plaintext of an object, chunk by chunk.
import type { S3Client } from "@aws-sdk/client-s3";
import type { AuthenticationMode } from "../s3/single-message/body.ts";
import { interruptSignal } from "./interrupt.ts";
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
    return await pump(client, address, sink, how.range, progress);
  } finally {
    progress.stop();
    client.destroy();
  }
}

async function pump(
  client: S3Client,
  address: ObjectAddress,
  sink: (chunk: Uint8Array) => Promise<void> | void,
  range: string | undefined,
  progress: Progress,
): Promise<ObjectRead> {
  const { GetObjectCommand } = await import("@aws-sdk/client-s3");
  const output = await client.send(
    new GetObjectCommand({ ...address, ...(range === undefined ? {} : { Range: range }) }),
    { abortSignal: interruptSignal },
  );
  let length = 0;
  for await (const chunk of output.Body as AsyncIterable<Uint8Array>) {
    interruptSignal.throwIfAborted();
    await sink(chunk);
    length += chunk.length;
    progress.update(length, output.ContentLength);
  }
  interruptSignal.throwIfAborted();
  return { length, contentRange: output.ContentRange, metadata: output.Metadata ?? {} };
}
