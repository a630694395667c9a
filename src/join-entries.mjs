// Rewrites the public entries in dist/, with what is behind them joined into a few files in dist/joined/: Node spends
// 0.7 ms on every module it loads, whatever its length. The single modules stay for the command line and the benchmarks.
import { rmSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";
import packageJson from "../package.json" with { type: "json" };

const dist = path.resolve(import.meta.dirname, "../dist");
// One bundle of all entries, so that they share their classes and registries.
const entries = Object.values(packageJson.exports).flatMap((entry) => entry.default ?? []);
rmSync(path.join(dist, "joined"), { recursive: true, force: true });
const bundle = await rolldown({
  input: Object.fromEntries(
    entries.map((file) => [path.basename(file, ".js"), path.join(dist, path.basename(file))]),
  ),
  platform: "node",
  external: Object.keys(packageJson.peerDependencies),
  logLevel: "warn",
});
await bundle.write({
  dir: dist,
  format: "esm",
  entryFileNames: "[name].js",
  // As deep as the modules were: some look for files of the package beside themselves.
  chunkFileNames: "joined/[name].js",
});
