// What every error text must be, whoever wrote the names in it: short, and without characters that a terminal or a reader
// of logs would obey instead of show.
import { expect } from "vitest";

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Checks an error, its causes, and theirs. */
export function expectPlain(error: unknown): void {
  const seen = new Set<unknown>();
  const look = (each: unknown): void => {
    if (typeof each !== "object" || each === null || seen.has(each)) return;
    seen.add(each);
    const { message, cause, errors } = each as { message?: unknown; cause?: unknown; errors?: unknown };
    if (typeof message === "string") {
      expect(message.length, message.slice(0, 3000)).toBeLessThanOrEqual(2000);
      expect(HIDDEN.exec(message), message).toBeNull();
    }
    look(cause);
    if (Array.isArray(errors)) for (const inner of errors) look(inner);
  };
  look(error);
  expect(seen.size).toBeGreaterThan(0);
}
