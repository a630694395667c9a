// SIGINT, SIGTERM and SIGHUP abort the running operation, which removes what it has not completed; then the process
// ends with 128 plus the number of the signal.

const controller = new AbortController();
const numbers: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
/** For an operation that waits for the system and cannot be aborted, such as opening a FIFO that nobody writes to. */
const GRACE_MS = 2000;

let received: string | undefined;

/** Aborted when the user asks the program to stop. Give it to everything that can wait. */
export const interruptSignal: AbortSignal = controller.signal;

/** The exit code of the signal that was received, if one was. */
export function interruptedExitCode(): number | undefined {
  return received === undefined ? undefined : 128 + (numbers[received] ?? 0);
}

/** Starts to listen. A second signal, or no end within two seconds, ends the process at once. */
export function listenForSignals(): void {
  for (const name of Object.keys(numbers))
    process.on(name, () => {
      if (received !== undefined) dieOf(received);
      received = name;
      controller.abort(new Error(`received ${name}`));
      setTimeout(() => dieOf(name), GRACE_MS).unref();
    });
}

// By the signal itself: exiting would wait for system calls that block.
function dieOf(name: string): void {
  process.removeAllListeners(name);
  process.kill(process.pid, name as NodeJS.Signals);
}
