import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nativeKernels } from "../../src/engine/native/addon.ts";
import { nodeEngine } from "../../src/engine/node/engine.ts";
import { createEngine, engineInfo, selectEngine } from "../../src/engine/select-engine.ts";
import { hasCode } from "../../src/errors.ts";
import { type CompiledEngine, compileEngine, runChild } from "./compiled.ts";

function codeOf(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return hasCode(error, "ENGINE_UNAVAILABLE") ? "ENGINE_UNAVAILABLE" : error;
  }
}

describe("selectEngine", () => {
  test("takes a name, an engine, or nothing", () => {
    expect(selectEngine("node")).toBe(nodeEngine);
    const own: Engine = { name: "mine", kernel: "mine", createKey: (rawKey) => nodeEngine.createKey(rawKey) };
    expect(selectEngine(own)).toBe(own);
    expect(selectEngine()).toBe(selectEngine());
    expect(createEngine("node")).toBe(createEngine("node"));
  });
  test("refuses what is no engine", () => {
    expect(() => selectEngine("openssl")).toThrow(RangeError);
    expect(() => selectEngine("")).toThrow(RangeError);
    expect(() => selectEngine({} as Engine)).toThrow(TypeError);
    expect(() => selectEngine(null as unknown as Engine)).toThrow(TypeError);
    expect(() => selectEngine(7 as unknown as Engine)).toThrow(TypeError);
    expect(codeOf(() => selectEngine("native:nosuch"))).toBe("ENGINE_UNAVAILABLE");
    expect(codeOf(() => selectEngine("web"))).toBe("ENGINE_UNAVAILABLE");
  });
  test("refuses an engine that gives wrong answers or throws", () => {
    const wrong: readonly ((sealed: Uint8Array) => Uint8Array)[] = [
      (sealed) => sealed.subarray(1),
      (sealed) => sealed.map((byte, i) => (i === 3 ? byte ^ 1 : byte)),
    ];
    for (const change of wrong) {
      const engine: Engine = {
        name: "wrong",
        kernel: "wrong",
        createKey(rawKey) {
          const key = nodeEngine.createKey(rawKey);
          const seal = (nonce: Uint8Array, aad: Uint8Array, text: Uint8Array) =>
            change(key.seal(nonce, aad, text));
          return { ...key, seal, dispose: () => key.dispose(), open: key.open.bind(key) } as typeof key;
        },
      };
      expect(codeOf(() => selectEngine(engine))).toBe("ENGINE_UNAVAILABLE");
    }
    const accepting: Engine = {
      name: "accepts all",
      kernel: "none",
      createKey(rawKey) {
        const key = nodeEngine.createKey(rawKey);
        const open = (nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array) =>
          key.open(nonce, aad, sealed) ?? sealed.slice(16);
        return { seal: key.seal.bind(key), open, dispose: () => key.dispose() } as unknown as typeof key;
      },
    };
    expect(codeOf(() => selectEngine(accepting))).toBe("ENGINE_UNAVAILABLE");
    const throwing: Engine = {
      name: "throws",
      kernel: "none",
      createKey() {
        throw new Error("no");
      },
    };
    expect(codeOf(() => selectEngine(throwing))).toBe("ENGINE_UNAVAILABLE");
  });
  test("tells what is in use and why", () => {
    const info = engineInfo();
    expect(["native", "node"]).toContain(info.engine);
    expect(info.kernel).not.toBe("");
    expect(info.reason).toMatch(/\.$/);
  });
});

describe("choice by environment", () => {
  let compiled: CompiledEngine;
  beforeAll(() => {
    compiled = compileEngine();
  });
  afterAll(() => compiled.remove());

  /** What engineInfo() says in a process with `env`, or the error. */
  async function infoWith(env: Record<string, string>, flags: readonly string[] = []) {
    const script = `
      import { engineInfo, selectEngine } from ${JSON.stringify(compiled.url)};
      try {
        selectEngine().createKey(new Uint8Array(32)).dispose();
        console.log(JSON.stringify({ info: engineInfo() }));
      } catch (error) {
        console.log(JSON.stringify({ code: error.code, name: error.name, message: error.message }));
      }`;
    const { stdout, status, signal, stderr } = await runChild(script, { env, flags });
    expect({ status, signal }, stderr).toEqual({ status: 0, signal: null });
    return JSON.parse(stdout) as {
      info?: { engine: string; kernel: string; reason: string };
      code?: string;
      name?: string;
      message?: string;
    };
  }

  test("a missing addon means the Node engine, and the reason is told", async () => {
    const { info } = await infoWith({ FRAMESEAL_PREBUILD: compiled.withoutAddon });
    expect(info?.engine).toBe("node");
    expect(info?.reason).toContain("No native build was found");
  });
  test("a corrupt addon means the Node engine, and the reason is told", async () => {
    const { info } = await infoWith({ FRAMESEAL_PREBUILD: compiled.withCorruptAddon });
    expect(info?.engine).toBe("node");
    expect(info?.reason).toMatch(/native addon did not load \(ERR_DLOPEN_FAILED/);
  });
  test("FRAMESEAL_ENGINE=node is obeyed", async () => {
    const { info } = await infoWith({ FRAMESEAL_ENGINE: "node" });
    expect(info).toMatchObject({ engine: "node", kernel: "node:crypto" });
    expect(info?.reason).toContain("FRAMESEAL_ENGINE=node");
  });
  test("FRAMESEAL_ENGINE=native fails loudly without an addon", async () => {
    const env = { FRAMESEAL_ENGINE: "native", FRAMESEAL_PREBUILD: compiled.withoutAddon };
    expect((await infoWith(env)).code).toBe("ENGINE_UNAVAILABLE");
  });
  test("an unknown FRAMESEAL_ENGINE fails", async () => {
    expect((await infoWith({ FRAMESEAL_ENGINE: "fast" })).name).toBe("RangeError");
  });
  test("FRAMESEAL_KERNEL fails loudly when there is no such kernel, no addon, or another engine is asked for", async () => {
    expect((await infoWith({ FRAMESEAL_KERNEL: "nosuch" })).code).toBe("ENGINE_UNAVAILABLE");
    const kernel = nativeKernels().find(({ works }) => works)?.name ?? "openssl";
    const missing = { FRAMESEAL_KERNEL: kernel, FRAMESEAL_PREBUILD: compiled.withoutAddon };
    expect((await infoWith(missing)).code).toBe("ENGINE_UNAVAILABLE");
    const contradiction = { FRAMESEAL_KERNEL: kernel, FRAMESEAL_ENGINE: "node" };
    expect((await infoWith(contradiction)).code).toBe("ENGINE_UNAVAILABLE");
  });
  test("FRAMESEAL_KERNEL picks each kernel that works here", async () => {
    for (const { name, works } of nativeKernels()) {
      const { info, code } = await infoWith({ FRAMESEAL_KERNEL: name });
      if (works) expect(info).toMatchObject({ engine: "native", kernel: name });
      else expect(code).toBe("ENGINE_UNAVAILABLE");
    }
  });
  test("the permission model without addons means the Node engine, and the reason is told", async () => {
    const flag =
      Number(process.versions.node.split(".")[0]) >= 23 ? "--permission" : "--experimental-permission";
    const { info } = await infoWith({}, [flag, "--allow-fs-read=*", "--no-warnings"]);
    expect(info?.engine).toBe("node");
    if (nativeKernels().length > 0) expect(info?.reason).toContain("ERR_DLOPEN_DISABLED");
  });
  test("hardened runtimes change nothing", async () => {
    const flags = ["--disable-proto=delete", "--frozen-intrinsics", "--no-warnings"];
    const { info } = await infoWith({}, flags);
    expect(info?.engine).toBe(nativeKernels().some(({ works }) => works) ? "native" : "node");
  });
  test("importing loads no addon", async () => {
    const script = `
      await import(${JSON.stringify(compiled.url)});
      const { default: process } = await import("node:process");
      const addons = process.report.getReport().sharedObjects.filter((name) => name.endsWith("frameseal.node"));
      console.log(JSON.stringify(addons));`;
    const { stdout } = await runChild(script);
    expect(JSON.parse(stdout)).toEqual([]);
  });
});
