// fail_calls.c as a library to be preloaded.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("fail_calls.c", import.meta.url));

/** Compiles it into `folder`; undefined where there is no compiler, or no such way to preload. */
export function compileFailCalls(folder: string): string | undefined {
  if (process.platform !== "linux") return undefined;
  const library = path.join(folder, "fail_calls.so");
  const flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"];
  const { status, stderr } = spawnSync(process.env.CC ?? "cc", [...flags, source, "-ldl", "-o", library], {
    encoding: "utf8",
  });
  if (status === 0) return library;
  if (stderr !== null && stderr !== "") throw new Error(`fail_calls.c: ${stderr}`);
  return undefined;
}
