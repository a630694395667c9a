// Which hosts the command has asked, so that an error of the network can name the one that it met.

const hosts = new WeakMap<Error, string>();
let last: string | undefined;

/** Remembers that a request goes to this host. */
export function contact(host: string): void {
  last = host;
}

/** Remembers at which host an error was met; the first one that is told counts. */
export function metAt(host: string, error: unknown): void {
  if (error instanceof Error && !hosts.has(error)) hosts.set(error, host);
}

/** The host at which an error, or one of its causes, was met. */
export function hostOf(error: unknown): string | undefined {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    const host = hosts.get(inner);
    if (host !== undefined) return host;
  }
  return undefined;
}

/** The host that was asked last, whatever became of it. */
export function lastContacted(): string | undefined {
  return last;
}
