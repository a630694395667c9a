// Keys that travel in requests and answers: never over plain http, except to this machine. One rule for all of them.
import { isIPv4 } from "node:net";
import { FramesealError } from "./errors.ts";

/** Where a request goes, as the requests of the AWS SDK tell it. */
export interface RequestAddress {
  readonly protocol?: string | undefined;
  readonly hostname?: string | undefined;
}

/**
 * @param secret what the request or its answer carries, as a message begins with it
 * @throws FramesealError POLICY for plain http to another machine, and for protocols that are not known
 */
export function checkSecretTransport(
  { protocol = "unknown:", hostname = "" }: RequestAddress,
  secret: string,
): void {
  if (protocol === "https:" || (protocol === "http:" && isLoopback(hostname))) return;
  const address = JSON.stringify(`${protocol}//${hostname}`.slice(0, 200)).slice(1, -1);
  throw new FramesealError("POLICY", `${secret}: ${address} is refused, use https`);
}

/**
 * Only what no name server is asked about, for whoever answers in its place would get the key. Names below `localhost`
 * are asked about by many systems, and so is what looks like an address and is none.
 */
function isLoopback(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname === "::1" ||
    hostname === "[::1]" ||
    (isIPv4(hostname) && hostname.startsWith("127."))
  );
}

type Step = (args: { request?: unknown }) => Promise<unknown>;
/** What is needed of a command of the AWS SDK. */
interface SdkCommand {
  readonly middlewareStack: {
    add(
      middleware: (next: Step) => Step,
      options: { step: string; name: string; priority: string; override: boolean },
    ): void;
  };
}

/** Returns `command`, which checks every request that is made of it right before it is sent. */
export function withSecretCheck<Command extends object>(command: Command, secret: string): Command {
  const { middlewareStack } = command as unknown as SdkCommand;
  middlewareStack.add(
    (next) => (args) => {
      checkSecretTransport((args.request ?? {}) as RequestAddress, secret);
      return next(args);
    },
    { step: "deserialize", name: "framesealSecretTransport", priority: "low", override: true },
  );
  return command;
}
