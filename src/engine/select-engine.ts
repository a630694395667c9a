// Which engine does the work: the option, else the environment, else the native one, else Node's. The reason is kept,
// because a program that silently runs on the slow engine is a bug that nobody finds.
import { type Check, wrong } from "../check-options.ts";
import { FramesealError, isFramesealError } from "../errors.ts";
import { isError } from "../shapes.ts";
import type { Engine, EngineInfo } from "./engine.ts";
import { nativeCpuFeatures } from "./native/addon.ts";
import { createNativeEngine } from "./native/engine.ts";
import { nodeEngine } from "./node/engine.ts";
import { selfTest } from "./self-test.ts";

/** What `engine` options take: a name or your own. */
export type EngineOption = "native" | "node" | (string & {}) | Engine;

interface Choice {
  readonly engine: Engine;
  readonly reason: string;
}

const byName = new Map<string, Engine>();
let defaultChoice: Choice | undefined;

/**
 * Makes an engine by name: `native`, `node`, or `native:` and the name of a kernel such as `native:aesni`. Each is
 * made and tested once.
 * @throws RangeError if there is no such name; FramesealError ENGINE_UNAVAILABLE if it cannot work here.
 */
export function createEngine(name: string): Engine {
  const existing = byName.get(name);
  if (existing !== undefined) return existing;
  const engine = makeEngine(name);
  selfTest(engine);
  byName.set(name, engine);
  return engine;
}

function makeEngine(name: string): Engine {
  if (typeof name !== "string")
    throw new TypeError(`"engine" expected a name or an Engine, got ${typeof name}`);
  if (name === "node") return nodeEngine;
  if (name === "native") return createNativeEngine(environment("FRAMESEAL_KERNEL"));
  if (name.startsWith("native:")) return createNativeEngine(name.slice("native:".length));
  if (name === "web") {
    throw new FramesealError(
      "ENGINE_UNAVAILABLE",
      "engine web is not available: WebCrypto is asynchronous only",
    );
  }
  throw new RangeError(`"engine" expected "native" or "node", got ${JSON.stringify(name)}`);
}

/**
 * Returns the engine to use: `option`, else FRAMESEAL_ENGINE, else the native engine if it works, else Node's.
 * FRAMESEAL_KERNEL forces a kernel of the native engine. What is asked for by name is never replaced silently.
 * @throws TypeError or RangeError if `option` is no engine; FramesealError ENGINE_UNAVAILABLE if the engine asked for
 * did not load or failed its self-test.
 */
export function selectEngine(option?: EngineOption): Engine {
  if (option === undefined) {
    defaultChoice ??= chooseDefault();
    return defaultChoice.engine;
  }
  if (typeof option === "string") return createEngine(option);
  if (typeof option !== "object" || option === null || typeof option.createKey !== "function") {
    throw new TypeError(
      `"engine" expected a name or an Engine, got ${option === null ? "null" : typeof option}`,
    );
  }
  selfTest(option);
  return option;
}

/** Tells which engine is used when no option names one, and why. */
export function engineInfo(): EngineInfo {
  const engine = selectEngine();
  const reason = defaultChoice?.reason ?? "";
  return { engine: engine.name, kernel: engine.kernel, cpuFeatures: nativeCpuFeatures(), reason };
}

function chooseDefault(): Choice {
  const name = environment("FRAMESEAL_ENGINE");
  const kernel = environment("FRAMESEAL_KERNEL");
  if (kernel !== undefined) {
    if (name !== undefined && name !== "native") {
      throw new FramesealError(
        "ENGINE_UNAVAILABLE",
        `FRAMESEAL_KERNEL=${kernel} needs the native engine, but FRAMESEAL_ENGINE=${name} asks for another`,
      );
    }
    return { engine: createEngine("native"), reason: `FRAMESEAL_KERNEL=${kernel} asks for this kernel.` };
  }
  if (name !== undefined) {
    return { engine: createEngine(name), reason: `FRAMESEAL_ENGINE=${name} asks for this engine.` };
  }
  try {
    const engine = createEngine("native");
    return { engine, reason: "The native engine loaded and passed its self-test." };
  } catch (error) {
    if (!isFramesealError(error)) throw error;
    return { engine: createEngine("node"), reason: `The native engine is not used: ${explain(error)}.` };
  }
}

/** The message of an error and the first line of its cause's: what the loader said. */
function explain(error: Error): string {
  if (!isError(error.cause)) return error.message;
  const code = "code" in error.cause && typeof error.cause.code === "string" ? `${error.cause.code}: ` : "";
  return `${error.message} (${code}${error.cause.message.split("\n", 1)[0]})`;
}

function environment(name: string): string | undefined {
  const value = process.env[name];
  return value === "" ? undefined : value;
}

/** The name of an engine, or one. */
export const engineOption: Check = (name, value) => {
  if (typeof value === "string" && !/^\w{1,10}(:\w{1,20})?$/.test(value))
    throw wrong(name, "a name or an Engine", value);
  selectEngine(value as EngineOption);
  return value;
};
