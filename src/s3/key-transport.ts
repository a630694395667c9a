// Keys of SSE-C travel in headers: never over plain http, except to this machine. Which command carries one does not
// matter: the headers tell.
import { checkSecretTransport } from "../secret-transport.ts";
import type { HttpRequest, MiddlewareStack } from "./sdk-client.ts";

/** Ends the names of the headers that carry a key, for an object and for the source of a copy. */
const KEY_HEADER = "server-side-encryption-customer-key";

/**
 * Checks that a request which carries an SSE-C key goes where it may.
 * @throws FramesealError POLICY for plain http to another machine
 */
export function checkKeyTransport(request: HttpRequest): void {
  const names = [...Object.keys(request.headers ?? {}), ...Object.keys(request.query ?? {})];
  if (names.some((name) => name.toLowerCase().endsWith(KEY_HEADER)))
    checkSecretTransport(request, "SSE-C sends its key with every request");
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
