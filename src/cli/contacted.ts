// Which hosts the command has asked, and what it met there: errors that come out of an operation have often lost it.
import { isError } from "../shapes.ts";

/** Services that are asked. */
export type Service = "s3" | "kms";

const hosts = new Map<Service, string>();
const failures = new Map<Service, Error>();
const metAt = new WeakMap<Error, string>();
const requests = new Map<Service, Map<string, number>>();
let last: string | undefined;

/** Remembers that a request for an operation of the service goes to this host. */
export function noteRequest(service: Service, host: string, operation: string): void {
  hosts.set(service, host);
  last = host;
  const counts = requests.get(service) ?? new Map<string, number>();
  requests.set(service, counts.set(operation, (counts.get(operation) ?? 0) + 1));
}

/** How many requests went to a service, those that were repeated too, by operation. */
export function requestCounts(service: Service): Readonly<Record<string, number>> {
  return Object.fromEntries(requests.get(service) ?? []);
}

/** Remembers that an answer came: what was met before is over. */
export function noteAnswer(service: Service): void {
  failures.delete(service);
}

/** Remembers what was met at a host. */
export function noteFailure(service: Service, host: string, error: unknown): void {
  if (!isError(error)) return;
  failures.set(service, error);
  if (!metAt.has(error)) metAt.set(error, host);
}

/** The host at which an error was met. */
export function hostOf(error: Error): string | undefined {
  return metAt.get(error);
}

/** What was met last at a service, unless it answered since. */
export function lastFailure(service: Service): Error | undefined {
  return failures.get(service);
}

/** The host that was asked last, of a service or at all. */
export function lastHost(service?: Service): string | undefined {
  return service === undefined ? last : hosts.get(service);
}
