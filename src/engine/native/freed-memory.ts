// What a program that streams much may ask of the allocator that it shares with the library. Nothing asks for it by itself.
import { hasCode } from "../../errors.ts";
import { loadAddon } from "./addon.ts";

/**
 * Asks the C library to keep freed memory for reuse, up to 64 MiB, in the whole process. glibc gives freed results of
 * 64 KiB and more back to the system, and to touch fresh ones costs up to four times what their encryption does: streams
 * whose chunks nobody gives to `recycle`, and whole messages, are up to four times as fast with this. To be called once,
 * by the program, when it starts. Returns whether that is so now: there is no such thing to ask for without the native
 * engine or glibc.
 */
export function keepFreedMemory(): boolean {
  try {
    return loadAddon().keepFreedMemory();
  } catch (error) {
    if (hasCode(error, "ENGINE_UNAVAILABLE")) return false;
    throw error;
  }
}
