// AES-256-GCM in our own native code. The only file that loads the addon.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { FramesealError } from "../errors.ts";
import type { Engine } from "./engine.ts";

/**
 * Makes the engine on the native addon, with its best kernel or the one named.
 * @throws FramesealError ENGINE_UNAVAILABLE if the addon does not load or has no such kernel that works here.
 */
export function createNativeEngine(kernel?: string): Engine {
  loadAddon();
  throw new FramesealError("ENGINE_UNAVAILABLE", `native engine has no kernel ${kernel ?? ""}`);
}

/** Instruction-set extensions that the addon found; empty when it does not load. */
export function nativeCpuFeatures(): readonly string[] {
  return [];
}

/** The directory that holds `build/Release` or `prebuilds`: two above both `src/engine` and `dist/engine`. */
const packageRoot = fileURLToPath(new URL("../..", import.meta.url));

function loadAddon(): unknown {
  try {
    const load: (directory: string) => unknown = createRequire(import.meta.url)("node-gyp-build");
    return load(packageRoot);
  } catch (cause) {
    throw new FramesealError("ENGINE_UNAVAILABLE", "native addon did not load", { cause });
  }
}
