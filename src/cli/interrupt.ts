// What ends a command before its end: SIGINT, SIGTERM and SIGHUP, and a time limit. Each aborts the running operation,
// which removes what it has not completed; then the process ends, after a signal with 128 plus its number.

const controller = new AbortController();
const numbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
/** For an operation that waits for the system and cannot be aborted, such as opening a FIFO that nobody writes to. */
const GRACE_MS = 2000;
/** After a time limit nobody waits at a keyboard, and a slow service may still take what undoes an upload. */
const LATE_GRACE_MS = 10_000;

let received: string | undefined;
let receivedAt = 0;
const listeners = new Map<string, () => void>();
let lateness: Error | undefined;
const lastActs = new Set<() => void>();

/** Aborted when the command has to end. Give it to everything that can wait. */
export const interruptSignal: AbortSignal = controller.signal;

/** The exit code of the signal that was received, if one was. */
export function interruptedExitCode(): number | undefined {
  return received === undefined ? undefined : 128 + (numbers[received] ?? 0);
}

/** Why the command had to end, if its time was up. */
export function timeLimitFailure(): Error | undefined {
  return lateness;
}

/** Starts to listen. A second signal, or no end within two seconds, ends the process at once. */
export function listenForSignals(): void {
  for (const name of Object.keys(numbers)) {
    const listener = (): void => {
      if (received !== undefined) dieOf(received);
      received = name;
      receivedAt = performance.now();
      controller.abort(new Error(`received ${name}`));
      setTimeout(() => dieOf(name), GRACE_MS).unref();
    };
    listeners.set(name, listener);
    process.on(name, listener);
  }
}

/**
 * Lets signals end the process by themselves while `work` waits: no listener would be called.
 * @param work calls its argument from time to time, which ends the process two seconds after a signal from before
 */
export function endBySignals(work: (checkEnd: () => void) => void): void {
  for (const [name, listener] of listeners) process.off(name, listener);
  try {
    work(() => {
      if (received !== undefined && performance.now() - receivedAt > GRACE_MS) dieOf(received);
    });
  } finally {
    for (const [name, listener] of listeners) process.on(name, listener);
  }
}

/**
 * Aborts the operation when the time is up.
 * @param failure makes the error that tells so
 * @param giveUp ends the process when the operation does not end by itself
 */
export function limitTime(
  milliseconds: number,
  failure: () => Error,
  giveUp: (failure: Error) => never,
): void {
  setTimeout(() => {
    if (controller.signal.aborted) return;
    const late = failure();
    lateness = late;
    controller.abort(late);
    setTimeout(() => {
      actLast();
      giveUp(late);
    }, LATE_GRACE_MS).unref();
  }, milliseconds).unref();
}

/** Calls `act` if the process ends without waiting for the operation. Returns what takes that back. */
export function beforeSuddenEnd(act: () => void): () => void {
  lastActs.add(act);
  return () => lastActs.delete(act);
}

function actLast(): void {
  for (const act of lastActs) act();
}

// By the signal itself: exiting would wait for system calls that block.
function dieOf(name: string): void {
  actLast();
  process.removeAllListeners(name);
  process.kill(process.pid, name as NodeJS.Signals);
}
