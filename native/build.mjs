// Builds the native addon with the headers of the Node that runs, without any download, and prints one line. Where it
// cannot be built the package works all the same, on the Node engine; so only a failed compilation under CI is an
// error.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const addon = join(root, "build", "Release", "frameseal.node");
const logFile = join(root, "build", "native-build.log");

/** Directories that may hold `include/node/node_api.h`, best first. */
function headerPrefixes() {
  const cache = process.platform === "win32" ? process.env.LOCALAPPDATA : join(homedir(), ".cache");
  return [
    process.env.npm_config_nodedir,
    dirname(dirname(process.execPath)),
    dirname(process.execPath),
    "/usr",
    "/usr/local",
    join(cache ?? "", "node-gyp", process.versions.node),
  ].filter((prefix) => prefix !== undefined && prefix !== "");
}

function findHeaders() {
  const needed = ["node_api.h", "common.gypi", "config.gypi"];
  return headerPrefixes().find((prefix) =>
    needed.every((name) => existsSync(join(prefix, "include", "node", name))),
  );
}

function runs(command, ...args) {
  const result = spawnSync(command, args, { stdio: "ignore", shell: process.platform === "win32" });
  return result.error === undefined && result.status === 0;
}

function findNodeGyp() {
  try {
    return createRequire(import.meta.url).resolve("node-gyp/bin/node-gyp.js");
  } catch {
    return undefined;
  }
}

/** Why the addon cannot even be tried, or undefined. */
function missingTool(headers, nodeGyp) {
  const compiler = process.env.CXX ?? (process.platform === "win32" ? "" : "c++");
  if (nodeGyp === undefined) return "node-gyp is not installed";
  if (headers === undefined) return "no Node.js headers beside this Node";
  if (compiler !== "" && !runs(...compiler.split(" "), "--version")) return `no C++ compiler: ${compiler}`;
  const python = [process.env.npm_config_python, process.env.PYTHON, "python3", "python"].find(
    (name) => name !== undefined && name !== "" && runs(name, "--version"),
  );
  if (python === undefined) return "a compiler is here, but node-gyp needs Python 3";
  return undefined;
}

function giveUp(reason, status) {
  console.log(`native engine not built (${reason}): the Node engine will be used`);
  process.exit(status);
}

const headers = findHeaders();
const nodeGyp = findNodeGyp();
const missing = missingTool(headers, nodeGyp);
if (missing !== undefined) giveUp(missing, 0);

const args = [nodeGyp, "configure", "build", `--nodedir=${headers}`, "--jobs=max"];
const build = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 });
if (build.status !== 0 || !existsSync(addon)) {
  mkdirSync(dirname(logFile), { recursive: true });
  writeFileSync(logFile, `${build.stdout ?? ""}\n${build.stderr ?? ""}\n`);
  if (process.env.CI === "true") console.log(build.stderr);
  giveUp("compilation failed, see build/native-build.log", process.env.CI === "true" ? 1 : 0);
}

rmSync(logFile, { force: true });

// In a process of its own: a broken addon must not take the build down without a word.
const print = `console.log(require(${JSON.stringify(addon)}).kernels().filter((k) => k.works).map((k) => k.name).join(", "))`;
const test = spawnSync(process.execPath, ["-e", print], { encoding: "utf8" });
if (test.status !== 0) giveUp("the addon was built but does not load", process.env.CI === "true" ? 1 : 0);
console.log(`native engine built; kernels that work here: ${test.stdout.trim()}`);
