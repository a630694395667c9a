// Bundles the script of the report page with its plotting library into dist/bench/page.js; the licences go beside it.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = path.resolve(here, "../../dist/bench");
const bundle = await rolldown({ input: path.join(here, "main.ts"), platform: "browser", logLevel: "warn" });
const { output } = await bundle.write({ file: path.join(out, "page.js"), format: "iife", minify: true });

const folders = new Set(
  output[0].moduleIds.flatMap((id) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []),
);
const require = createRequire(import.meta.url);
const licences = [...folders].sort().map((folder) => {
  const { name, version, license } = require(path.join(folder, "package.json"));
  const text = ["LICENSE", "LICENSE.md", "LICENCE", "LICENSE.txt"].flatMap((file) => {
    try {
      return [readFileSync(path.join(folder, file), "utf8").trim()];
    } catch {
      return [];
    }
  });
  if (text.length === 0) throw new Error(`${name} has no licence file`);
  return `${name} ${version} (${license})\n\n${text[0]}\n`;
});
writeFileSync(path.join(out, "page.LICENSES.txt"), licences.join("\n----\n\n"));
