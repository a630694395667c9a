// Builds the native addon with the headers of the Node that runs, without any download, and prints one line. In a clone
// that is a step of the build: the package works without it, on the Node engine, so only a failed compilation under CI
// is an error. In an installed package somebody asked for it (`node node_modules/frameseal/native/build.mjs`): there
// every failure is one, and the description of the build comes from dist/, because npm would compile a package with a
// binding.gyp at its top wherever it is installed.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const addon = join(root, "build", "Release", "frameseal.node");
const logFile = join(root, "build", "native-build.log");
const description = join(root, "binding.gyp");
const packedDescription = join(root, "dist", "binding.gyp");
const installed = !existsSync(description);
const failureStatus = installed || process.env.CI === "true" ? 1 : 0;

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
    return process.env.npm_config_node_gyp; // npm's own, where npm runs this
  }
}

/** Why the addon cannot even be tried, or undefined. */
function missingTool(headers, nodeGyp) {
  const compiler = process.env.CXX ?? (process.platform === "win32" ? "" : "c++");
  if (nodeGyp === undefined) return "node-gyp is not installed: npm install --save-dev node-gyp";
  if (headers === undefined) return "no Node.js headers beside this Node: npx node-gyp install";
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

/** Where node-gyp runs: the clone, or inside an installed package a copy of its sources under the description. */
function prepareSources() {
  if (!installed) {
    cpSync(description, packedDescription);
    return root;
  }
  const directory = join(root, "build", "sources");
  rmSync(directory, { recursive: true, force: true });
  cpSync(join(root, "native"), join(directory, "native"), { recursive: true });
  cpSync(packedDescription, join(directory, "binding.gyp"));
  return directory;
}

const directory = prepareSources();
const headers = findHeaders();
const nodeGyp = findNodeGyp();
const missing = missingTool(headers, nodeGyp);
if (missing !== undefined) giveUp(missing, installed ? 1 : 0);

const args = [nodeGyp, "configure", "build", `--nodedir=${headers}`, "--jobs=max"];
const build = spawnSync(process.execPath, args, { cwd: directory, encoding: "utf8", maxBuffer: 2 ** 28 });
const built = join(directory, "build", "Release", "frameseal.node");
if (build.status !== 0 || !existsSync(built)) {
  mkdirSync(dirname(logFile), { recursive: true });
  writeFileSync(logFile, `${build.stdout ?? ""}\n${build.stderr ?? ""}\n`);
  if (process.env.CI === "true") console.log(build.stderr);
  giveUp(`compilation failed, see ${installed ? logFile : "build/native-build.log"}`, failureStatus);
}
if (installed) {
  mkdirSync(dirname(addon), { recursive: true });
  renameSync(built, addon);
  rmSync(directory, { recursive: true });
}

rmSync(logFile, { force: true });

// In a process of its own: a broken addon must not take the build down without a word.
const print = `console.log(require(${JSON.stringify(addon)}).kernels().filter((k) => k.works).map((k) => k.name).join(", "))`;
const test = spawnSync(process.execPath, ["-e", print], { encoding: "utf8" });
if (test.status !== 0) giveUp("the addon was built but does not load", failureStatus);
console.log(`native engine built; kernels that work here: ${test.stdout.trim()}`);
