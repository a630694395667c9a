// `npm run bench`: installs the packages to compare with and runs `frameseal bench`; `npm run bench -- trees` compares
// programs on trees.
import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { packageFolder } from "../packages.ts";

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, {
    stdio: "inherit",
    cwd: packageFolder,
    env: { ...process.env, NODE_NO_WARNINGS: "1" }, // advice of the AWS SDK on versions of Node
  });
  if (status !== 0) process.exit(status ?? 1);
}

const [first, ...rest] = process.argv.slice(2);
if (first === "trees")
  run(process.execPath, [path.join(packageFolder, "dist/bench/scripts/trees.js"), ...rest]);
else {
  run("npm", ["ci", "--prefix", "bench/peers", "--ignore-scripts", "--no-audit", "--no-fund"]);
  run(process.execPath, [path.join(packageFolder, "dist/cli/main.js"), "bench", ...process.argv.slice(2)]);
}
