// Writes the entries of the package and the command line into dist/ again, with the modules behind them joined into a
// few files in dist/joined/: Node spends about 0.7 ms on every module that it loads, whatever its length. The single
// modules that tsc wrote stay beside them; the benchmarks use those.
// Beside each entry: one for `require`, and types for both. The declarations that tsc wrote into dist/types/ are told to
// be CommonJS, since modules of either kind may import those; so there is one declaration of a class for both.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";

const src = import.meta.dirname;
const dist = path.resolve(src, "../dist");
const packageJson = JSON.parse(readFileSync(path.resolve(src, "../package.json"), "utf8"));
const nameOf = (file) => path.posix.relative("dist", file).replace(/\.js$/, "");
const entries = Object.values(packageJson.exports)
  .flatMap((entry) => entry.import?.default ?? [])
  .map(nameOf);
const names = [...entries, ...Object.values(packageJson.bin).map(nameOf)];
const installed = [...Object.keys(packageJson.dependencies), ...Object.keys(packageJson.peerDependencies)];
rmSync(path.join(dist, "joined"), { recursive: true, force: true });

// One bundle of all, so that they share their classes and registries. A group takes along what its modules import.
const bundle = await rolldown({
  input: Object.fromEntries(names.map((name) => [name, path.join(src, `${name}.ts`)])),
  platform: "node",
  transform: { target: "es2023" },
  // The packages, the benchmarks by a name that holds wherever it is imported, and the addon, of which a bundler of the
  // user's decides what it is.
  external: (id) => id.startsWith("#") || installed.some((name) => id === name || id.startsWith(`${name}/`)),
  logLevel: "warn",
  checks: { ineffectiveDynamicImport: false },
});
await bundle.write({
  dir: dist,
  format: "esm",
  entryFileNames: "[name].js",
  // As deep as the modules were: some look for files of the package from where they are.
  chunkFileNames: "joined/modules/[name].js",
  codeSplitting: {
    groups: [
      {
        name: "core",
        test: /file[\\/]file\.ts$|stream[\\/]whole-message\.ts$|message[\\/](final-frame|lengths)\.ts$|native[\\/]freed-memory\.ts$|keyring[\\/](key-file|multi-keyring)\.ts$/,
      },
      { name: "commands", test: /cli[\\/](encrypt|decrypt|verify)\.ts$/ },
    ],
  },
});

const write = (name, text) => writeFileSync(path.join(dist, name), `${text}\n`);
write("types/package.json", JSON.stringify({ type: "commonjs" }));
for (const name of entries) {
  write(`${name}.cjs`, `module.exports = require("./${name}.js");`);
  for (const extension of ["d.ts", "d.cts"])
    write(`${name}.${extension}`, `export * from "./types/${name}.js";`);
}
