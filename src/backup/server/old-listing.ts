// ListObjectsV2 for servers that have only ListObjects: those that refuse it, and those that take one for the other.
import type * as S3 from "@aws-sdk/client-s3";
import { statusOf } from "../../s3/transient-error.ts";
import { isErrorNamed } from "../../shapes.ts";

type Sdk = Pick<typeof S3, "ListObjectsCommand" | "ListObjectsV2Command">;

/** `client`, which lists whatever the server has. Sends without callbacks. */
export function withOldListing(sdk: Sdk, client: S3.S3Client): S3.S3Client {
  const send = client.send.bind(client) as (command: unknown, ...rest: unknown[]) => Promise<unknown>;
  let isOld = false;
  return Object.create(client, {
    send: {
      async value(command: unknown, ...rest: unknown[]): Promise<unknown> {
        if (!(command instanceof sdk.ListObjectsV2Command)) return send(command, ...rest);
        if (!isOld)
          try {
            const page = (await send(command, ...rest)) as S3.ListObjectsV2CommandOutput;
            if (!isOfOldKind(command.input, page)) return page;
            isOld = true;
          } catch (error) {
            if (!isLacking(error)) throw error;
            isOld = true;
          }
        const old = new sdk.ListObjectsCommand(oldInput(command.input));
        return newOutput((await send(old, ...rest)) as S3.ListObjectsCommandOutput);
      },
    },
  }) as S3.S3Client;
}

function isLacking(error: unknown): boolean {
  const status = statusOf(error);
  return status === 501 || status === 405 || isErrorNamed(error, "NotImplemented");
}

// It has not understood where to begin, or does not say how to go on.
function isOfOldKind(
  { StartAfter, ContinuationToken }: S3.ListObjectsV2CommandInput,
  { KeyCount, IsTruncated, NextContinuationToken }: S3.ListObjectsV2CommandOutput,
): boolean {
  if (KeyCount !== undefined || NextContinuationToken !== undefined) return false;
  return IsTruncated === true || StartAfter !== undefined || ContinuationToken !== undefined;
}

function oldInput(input: S3.ListObjectsV2CommandInput): S3.ListObjectsCommandInput {
  const { StartAfter, ContinuationToken, FetchOwner: _, ...same } = input;
  return { ...same, Marker: ContinuationToken ?? StartAfter };
}

// Where the next page begins is told only with a delimiter; else it is behind the last key.
function newOutput(output: S3.ListObjectsCommandOutput): S3.ListObjectsV2CommandOutput {
  const { Marker: _, NextMarker, ...same } = output;
  const last = NextMarker ?? output.Contents?.at(-1)?.Key;
  const isMore = output.IsTruncated === true && last !== undefined;
  return {
    ...same,
    KeyCount: (output.Contents?.length ?? 0) + (output.CommonPrefixes?.length ?? 0),
    NextContinuationToken: isMore ? (output.EncodingType === "url" ? decoded(last) : last) : undefined,
  };
}

// As forms encode. What is no UTF-8 is found by whoever reads the keys.
function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    return key;
  }
}
