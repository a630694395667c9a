// frameseal engine: which engine does the work here, and why.
import type { Command } from "commander";
import { print, printJson } from "./output.ts";
import { parseEngine } from "./values.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("engine")
    .description("show the AES-GCM engine in use, its kernel, the CPU features found, and why")
    .option("--engine <name>", "ask for this engine: native, node, or native:KERNEL", parseEngine)
    .option("--json", "as JSON")
    .action(engine);
}

async function engine(options: { readonly engine?: string; readonly json?: boolean }): Promise<void> {
  const { createEngine, engineInfo } = await import("../engine/select-engine.ts");
  const { nativeKernels } = await import("../engine/native/addon.ts");
  const info =
    options.engine === undefined
      ? engineInfo()
      : { ...describe(createEngine(options.engine)), cpuFeatures: engineInfo().cpuFeatures };
  const kernels = nativeKernels();
  const result = { ...info, kernels, node: process.version, openssl: process.versions.openssl };
  if (options.json === true) return printJson(result);
  print(`engine    ${info.engine}`);
  print(`kernel    ${info.kernel}`);
  print(
    `kernels   ${kernels.map(({ name, works }) => (works ? name : `${name} (not here)`)).join(", ") || "none"}`,
  );
  print(`cpu       ${info.cpuFeatures.join(", ") || "unknown"}`);
  print(`node      ${result.node}, OpenSSL ${result.openssl}`);
  print(`why       ${info.reason}`);
}

function describe(engine: { readonly name: string; readonly kernel: string }) {
  return { engine: engine.name, kernel: engine.kernel, reason: "--engine asks for it." };
}
