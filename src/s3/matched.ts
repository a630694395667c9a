// Conditions that the object is still the one of an ETag (If-Match), for servers which compare it as text with a tag that
// has no quotes. Such a server refuses the very tag that it gave, and takes it without its quotes. (Ceph's, for PutObject)
import { sameETag } from "./etag.ts";
import { statusOf } from "./transient-error.ts";

/** Of clients whose server is one of those: their configurations, which derived clients share. */
const withoutQuotes = new WeakSet<object>();

/**
 * Sends a request that changes an object if it has an ETag. When that is refused (412) though the object has it, sends the
 * same once more with the tag as such servers want it. Never without the condition.
 * @param config of the client that sends
 * @param match the tag, if there is a condition
 * @param send may be called again
 * @param see tells the ETag that the object has now
 */
export async function sendMatched<Output>(
  config: object,
  match: unknown,
  send: (match: string | undefined) => Promise<Output>,
  see: () => Promise<string | undefined>,
): Promise<Output> {
  if (typeof match !== "string") return send(undefined);
  const bare = /^"([^"]+)"$/.exec(match)?.[1];
  if (bare === undefined) return send(match);
  if (withoutQuotes.has(config)) return send(bare);
  try {
    return await send(match);
  } catch (error) {
    if (statusOf(error) !== 412) throw error;
    // Who cannot see the object gets the refusal.
    const now = await see().catch(() => undefined);
    if (!sameETag(now, match)) throw error;
    const output = await send(bare);
    withoutQuotes.add(config);
    return output;
  }
}
