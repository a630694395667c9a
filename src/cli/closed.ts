// Standard input and output that whoever started the program has closed.
import { fstatSync, readFileSync, readlinkSync } from "node:fs";

/**
 * Whether a descriptor is closed. Node opens the null device for reading and writing in its place; shells open it for
 * one of them. Only Linux tells the difference.
 */
export function isClosed(descriptor: 0 | 1): boolean {
  try {
    if (!fstatSync(descriptor).isCharacterDevice()) return false;
  } catch {
    return true;
  }
  try {
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8");
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? "0", 8);
    return readlinkSync(`/proc/self/fd/${descriptor}`) === "/dev/null" && (flags & 3) === 2;
  } catch {
    return false;
  }
}

/** @throws Error EBADF for a closed descriptor: it would read as empty, or take everything and keep nothing */
export function refuseClosed(descriptor: 0 | 1): void {
  if (!isClosed(descriptor)) return;
  const [path, syscall] = descriptor === 0 ? ["standard input", "read"] : ["standard output", "write"];
  throw Object.assign(new Error(`EBADF: '${path}' is closed`), { code: "EBADF", syscall, path });
}
