// What time it is where the uploads are: their ages are told by the clock that dated them, and ours may be wrong.
import type { S3Client } from "@aws-sdk/client-s3";

export interface ServerClock {
  /** Milliseconds since 1970, by the last answer. Undefined before there is one, or where it has no date. */
  now(): number | undefined;
}

/** Reads the date of every answer that `client` gets. */
export function observeClock(client: S3Client): ServerClock {
  let now: number | undefined;
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { headers } = (result.response ?? {}) as { readonly headers?: Readonly<Record<string, string>> };
      const date = Date.parse(headers?.date ?? "");
      if (!Number.isNaN(date)) now = date;
      return result;
    },
    { step: "deserialize", priority: "low", name: "framesealClock" },
  );
  return { now: () => now };
}
