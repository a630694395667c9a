// Builds the addon for every platform that the package carries, from one x64 Linux machine, into prebuilds/, and prints
// what it made. Zig's clang brings headers and libraries for all of them. What is compiled, and how, is read from
// binding.gyp. Every binary is built twice, in two folders, and the two must be equal.
//
// usage: prebuild.mjs [--only PART-OF-NAME]... [--once]
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, homedir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { runInNewContext } from "node:vm";

const root = path.resolve(import.meta.dirname, "..");
const work = path.join(root, "build", "prebuild");
const zigVersion = "0.17.1";

/** gcc's kernels are faster than clang's: 2-5 % with VAES on 512 bits, 14-19 % on 256, 12-13 % with AES-NI. */
const gcc = "x86_64-linux-gnu-g++";
const platforms = [
  { name: "linux-x64/frameseal.glibc.node", OS: "linux", target_arch: "x64", target: "x86_64-linux-gnu.2.17", kernels: gcc },
  { name: "linux-x64/frameseal.musl.node", OS: "linux", target_arch: "x64", target: "x86_64-linux-musl", kernels: gcc },
  { name: "linux-arm64/frameseal.glibc.node", OS: "linux", target_arch: "arm64", target: "aarch64-linux-gnu.2.17" },
  { name: "linux-arm64/frameseal.musl.node", OS: "linux", target_arch: "arm64", target: "aarch64-linux-musl" },
  { name: "darwin-x64/frameseal.node", OS: "mac", target_arch: "x64", target: "x86_64-macos.11.0" },
  { name: "darwin-arm64/frameseal.node", OS: "mac", target_arch: "arm64", target: "aarch64-macos.11.0" },
  { name: "win32-x64/frameseal.node", OS: "win", target_arch: "x64", target: "x86_64-windows-gnu" },
];

/** How the linker is told, a system each. Node's own functions are found when the addon is loaded. */
const linking = {
  linux: () => [
    "-Wl,-z,now",
    "-Wl,-z,relro",
    `-Wl,--version-script=${path.join(root, "native/exports.map")}`,
    "-pthread",
    "-ldl",
  ],
  // Without a name, that of the folder would stand in the file.
  mac: () => ["-Wl,-undefined,dynamic_lookup", "-Wl,-install_name,frameseal.node"],
  win: (folder) => [path.join(folder, "node.lib")],
};

/** binding.gyp is Python, but only lists, dictionaries, strings and `==`, which JavaScript reads alike. */
function readDescription() {
  const text = readFileSync(path.join(root, "binding.gyp"), "utf8").replace(/^\s*#.*$/gm, "");
  return runInNewContext(`(${text})`);
}

/** Adds what the conditions of `part` that hold say to its lists, and theirs in turn. */
function merged(part, variables) {
  const result = { ...part };
  for (const [condition, then] of part.conditions ?? []) {
    if (!runInNewContext(condition, variables)) continue;
    for (const [key, value] of Object.entries(merged(then, variables)))
      if (Array.isArray(value)) result[key] = [...(result[key] ?? []), ...value];
  }
  delete result.conditions;
  return result;
}

/** Every source with its flags, of the addon and of the libraries that it is linked with. */
function compilations({ OS, target_arch, kernels }) {
  const description = readDescription();
  const variables = { OS, target_arch };
  const { targets } = merged(description, variables);
  const byName = new Map(targets.map((target) => [target.target_name, merged(target, variables)]));
  const { cflags_cc, include_dirs } = description.target_defaults;
  const addon = byName.get("frameseal");
  return [addon, ...addon.dependencies.map((name) => byName.get(name))].flatMap((target) => {
    const gcc = target.target_name.startsWith("gcm_") ? kernels : undefined;
    // What is said to gcc's scheduler is nothing to clang.
    const lists = gcc === undefined ? { ...description.variables, kernel_flags: [] } : description.variables;
    const flags = [
      ...[...cflags_cc, ...(target.cflags_cc ?? [])].flatMap(
        (flag) => lists[/^<@\((\w+)\)$/.exec(flag)?.[1]] ?? [flag],
      ),
      ...(target.defines ?? []).map((define) => `-D${define}`),
      ...include_dirs.map((folder) => `-I${path.join(root, folder)}`),
    ];
    return target.sources.map((source) => ({ source, flags, gcc }));
  });
}

/** The zig of PyPI, installed into a folder of its own if there is none yet. */
function findZig() {
  const folder = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), `frameseal-zig-${zigVersion}`);
  const python = path.join(folder, "bin", "python");
  if (process.env.FRAMESEAL_ZIG) return process.env.FRAMESEAL_ZIG.split(" ");
  if (!existsSync(python)) {
    must("python3", ["-m", "venv", folder]);
    must(python, ["-m", "pip", "install", "--quiet", `ziglang==${zigVersion}`]);
  }
  return [python, "-m", "ziglang"];
}

function must(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `exit ${status}`}`);
}

function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", reject);
    child.on("close", (status) =>
      status === 0 ? resolve() : reject(new Error(`${command} ${args.join(" ")}: exit ${status}`)),
    );
  });
}

async function inParallel(tasks) {
  const rest = [...tasks];
  const worker = async () => {
    for (let task = rest.shift(); task !== undefined; task = rest.shift()) await task();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Takes the time of linking out of a Windows program: zig has no flag for that. */
function clearTime(file) {
  const bytes = readFileSync(file);
  bytes.writeUInt32LE(0, bytes.readUInt32LE(0x3c) + 8);
  writeFileSync(file, bytes);
}

/** Compiles and links the addon for one platform in `folder`; returns the file. */
async function build(zig, platform, folder) {
  const { include_dir, def_paths } = createRequire(import.meta.url)("node-api-headers");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // Else zig would take the objects of the build before.
  const env = { ...process.env, ZIG_LOCAL_CACHE_DIR: path.join(folder, "cache") };
  const runZig = (...args) => run(zig[0], [...zig.slice(1), ...args], { env });
  // Zig names instruction sets in its own way. What a system has no use for is a warning there.
  const clang = (...args) =>
    runZig(
      ...["c++", "-target", platform.target, "-Wno-unknown-warning-option"],
      ...args.filter((flag) => flag !== "-Werror").map((flag) => flag.replace("-march=armv8-a+", "-mcpu=generic+")),
    );

  const objectOf = ({ source }) => path.join(folder, `${source.replaceAll("/", "_")}.o`);
  const sources = compilations(platform);
  const tasks = sources.map(({ source, flags, gcc }) => async () => {
    const place = ["-g0", `-ffile-prefix-map=${root}=.`, `-I${include_dir}`];
    const args = [...flags, ...place, "-c", path.join(root, source), "-o", objectOf({ source })];
    await (gcc === undefined ? clang(...args) : run(gcc, args, {}));
  });
  await inParallel(tasks);
  if (platform.OS === "win") {
    const library = path.join(folder, "node.lib");
    await runZig("dlltool", "-m", "i386:x86-64", "-d", def_paths.node_api_def, "-l", library);
  }
  const file = path.join(folder, "frameseal.node");
  await clang("-shared", "-s", ...sources.map(objectOf), ...linking[platform.OS](folder), "-o", file);
  if (platform.OS === "win") clearTime(file);
  return file;
}

const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

const { values } = parseArgs({ options: { only: { type: "string", multiple: true }, once: { type: "boolean" } } });
const zig = findZig();
for (const platform of platforms) {
  if (values.only !== undefined && !values.only.some((only) => platform.name.includes(only))) continue;
  const first = await build(zig, platform, path.join(work, "first"));
  const second = values.once === true ? first : await build(zig, platform, path.join(work, "second"));
  if (sha256(first) !== sha256(second)) throw new Error(`${platform.name}: two builds differ`);
  const file = path.join(root, "prebuilds", platform.name);
  mkdirSync(path.dirname(file), { recursive: true });
  copyFileSync(first, file);
  console.log(`${sha256(file)}  ${platform.name}  ${readFileSync(file).length} bytes`);
}
