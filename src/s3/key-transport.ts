// Keys of SSE-C travel in headers: never over plain http, except to this machine. Which command carries one does not
// matter: the headers tell.
import { FramesealError } from "../errors.ts";
import type { HttpRequest, MiddlewareStack } from "./sdk-client.ts";

/** Ends the names of the headers that carry a key, for an object and for the source of a copy. */
const KEY_HEADER = "server-side-encryption-customer-key";

/**
 * Checks that a request which carries an SSE-C key goes where it may.
 * @throws FramesealError POLICY for plain http to another machine
 */
export function checkKeyTransport({
  protocol = "unknown:",
  hostname = "",
  headers = {},
  query = {},
}: HttpRequest): void {
  const names = [...Object.keys(headers), ...Object.keys(query)];
  if (!names.some((name) => name.toLowerCase().endsWith(KEY_HEADER))) return;
  const isAddress = hostname.includes(":") && !hostname.startsWith("[");
  checkSseCEndpoint(`${protocol}//${isAddress ? `[${hostname}]` : hostname}`);
}

/**
 * SSE-C sends the key itself: only over https, or to this machine.
 * @throws FramesealError POLICY for other addresses
 */
export function checkSseCEndpoint(endpoint: string | URL): void {
  const { protocol, hostname } = new URL(endpoint);
  if (protocol === "https:" || (protocol === "http:" && isLoopback(hostname))) return;
  throw new FramesealError(
    "POLICY",
    `SSE-C sends its key with every request: ${protocol}//${hostname} is refused, use https`,
  );
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|.+\.localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/.test(hostname);
}

/** Checks requests when their address is known, so also those that are signed for later use. */
export function addKeyTransportCheck(stack: MiddlewareStack): void {
  stack.add(
    (next) => async (args) => {
      checkKeyTransport((args.request ?? {}) as HttpRequest);
      return next(args);
    },
    { step: "build", name: "framesealKeyTransport", priority: "low", override: true },
  );
}
