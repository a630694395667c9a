// `npm run test:bundlers [bundlers] [runners] [sdk]`: the packed package inside the builds of others. Bundles are made by
// the commands of docs/BUNDLERS.md, moved away from everything, and run with the addon and without it. Then test runners
// with and without a page, and the lowest and the newest AWS SDK of the peer ranges, each beside the other.
// Needs the registry of npm once; what it installed stays in node_modules/.cache.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { rolldown } from "rolldown";

const run = promisify(execFile);
const here = import.meta.dirname;
const root = path.resolve(here, "../..");
const wanted = process.argv.slice(2);
const isWanted = (part) => wanted.length === 0 || wanted.includes(part);
const started = performance.now();
const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`;

/** Installs the tools once, and the package as it is packed now. */
async function install() {
  const lock = readFileSync(path.join(here, "package-lock.json"));
  const folder = path.join(
    root,
    "node_modules/.cache/frameseal-bundlers",
    createHash("sha256").update(lock).digest("hex").slice(0, 16),
  );
  if (!existsSync(path.join(folder, "done"))) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const file of ["package.json", "package-lock.json"])
      cpSync(path.join(here, file), path.join(folder, file));
    // esbuild and others have their binaries in packages, so nobody's scripts are run.
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder });
    writeFileSync(path.join(folder, "done"), "");
  }
  const modules = path.join(folder, "node_modules");
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: root,
    maxBuffer: 2 ** 24,
  });
  const answer = JSON.parse(stdout);
  const [{ filename }] = Array.isArray(answer) ? answer : Object.values(answer);
  const installed = path.join(modules, "frameseal");
  rmSync(installed, { recursive: true, force: true });
  mkdirSync(installed);
  await run("tar", ["-xzf", path.join(folder, filename), "--strip-components=1", "-C", installed]);
  for (const name of Object.keys(
    JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")).dependencies,
  ))
    cpSync(path.join(root, "node_modules", name), path.join(installed, "node_modules", name), {
      recursive: true,
    });
  // As a user has it who built the addon from the sources.
  mkdirSync(path.join(installed, "build/Release"), { recursive: true });
  cpSync(
    path.join(root, "build/Release/frameseal.node"),
    path.join(installed, "build/Release/frameseal.node"),
  );
  return modules;
}

/** Servers of the test suite, which is TypeScript, on loopback. */
async function startServers(modules) {
  const bundle = await rolldown({
    input: {
      s3: path.join(root, "test/support/s3-server.ts"),
      kms: path.join(root, "test/support/fake-kms.ts"),
    },
    platform: "node",
    external: /^@aws-sdk\//,
    logLevel: "silent",
  });
  const dir = path.join(modules, "../servers");
  await bundle.write({ dir, format: "esm", entryFileNames: "[name].mjs" });
  const { S3Server } = await import(pathToFileURL(path.join(dir, "s3.mjs")).href);
  const { FakeKms } = await import(pathToFileURL(path.join(dir, "kms.mjs")).href);
  const [s3, kms] = [await S3Server.start(), await FakeKms.start()];
  const { CreateBucketCommand } = await import(
    pathToFileURL(path.join(modules, "@aws-sdk/client-s3/dist-cjs/index.js")).href
  );
  await s3.client().send(new CreateBucketCommand({ Bucket: "bucket" }));
  return {
    env: {
      ...process.env,
      NODE_NO_WARNINGS: "1",
      NO_COLOR: "1",
      S3_ENDPOINT: s3.endpoint,
      KMS_ENDPOINT: kms.url,
      KMS_KEYS: [kms.createKey(), kms.createKey()].join(" "),
    },
    stop: () => Promise.all([s3, kms].map((server) => server[Symbol.asyncDispose]())),
  };
}

/** The blocks of docs/BUNDLERS.md: commands by the name of their row, and files. */
function readDocument() {
  const text = readFileSync(path.join(root, "docs/BUNDLERS.md"), "utf8");
  const [commands, files] = [new Map(), new Map()];
  for (const [, kind, name, block] of text.matchAll(/^```(sh|js|json) (\S+)\n([\s\S]*?)^```$/gm))
    (kind === "sh" ? commands : files).set(name, block);
  return { commands, files };
}

// What a user has who has not read the page.
const untold = (text) =>
  text
    .replace(/ --conditions=frameseal-addon --loader:\.node=copy/, "")
    .replace('exportConditions: ["node", "frameseal-addon"], ', "")
    .split("\n")
    .filter(
      (line) => !/conditionNames|node-loader|^\s*framesealAddon,|plugins: \[framesealAddon\]/.test(line),
    )
    .join("\n");

/** Builds and runs one row; resolves to its result. */
async function bundle(name, addon, sdk, { modules, env, document }) {
  const away = mkdtempSync(path.join(tmpdir(), "frameseal-bundle-"));
  const work = path.join(modules, `../work/${name}-${addon}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    const told = addon === "taken along" ? (text) => text : untold;
    cpSync(path.join(here, "app.mjs"), path.join(work, "app.mjs"));
    for (const [file, text] of document.files) writeFileSync(path.join(work, file), told(text));
    let command = told(document.commands.get(name));
    if (sdk === "outside" && command.startsWith("esbuild") && !command.includes("--external"))
      command = command.replace("--bundle", "--bundle --external:@aws-sdk/*");
    const PATH = `${path.join(modules, ".bin")}${path.delimiter}${process.env.PATH}`;
    await run("bash", ["-euc", command], { cwd: work, env: { ...env, PATH }, maxBuffer: 2 ** 26 });
    const out = path.join(away, "deployed");
    cpSync(path.join(work, "out"), out, { recursive: true });
    // ncc needs no telling: without means that the file was not deployed.
    if (addon === "left out")
      for (const file of readdirSync(out, { recursive: true }))
        if (file.endsWith(".node")) rmSync(path.join(out, file));
    if (sdk === "outside") {
      mkdirSync(path.join(away, "node_modules"));
      symlinkSync(path.join(modules, "@aws-sdk"), path.join(away, "node_modules/@aws-sdk"));
    }
    const file = ["app", "app.cjs", "app.mjs", "index.mjs", "index.js"]
      .map((entry) => path.join(out, entry))
      .find(existsSync);
    if (file === undefined) throw new Error(`no program in ${readdirSync(out)}`);
    const [program, args] = path.basename(file) === "app" ? [file, []] : [process.execPath, [file]];
    const { stdout } = await run(program, args, { cwd: tmpdir(), env, timeout: 60_000 });
    const { engine, reason } = JSON.parse(stdout);
    const isRight =
      addon === "taken along" ? engine === "native" : engine === "node" && /not used: .+/.test(reason);
    return {
      isRight,
      engine,
      said:
        addon === "taken along" ? "works" : `works: ${reason.replace(/^.*did not load /, "").slice(0, 70)}…`,
    };
  } catch (error) {
    return { isRight: false, engine: "-", said: String(error.stderr || error.message).slice(0, 600) };
  } finally {
    rmSync(away, { recursive: true, force: true });
  }
}

/** Runs `jobs` on as many processes as there are processors; results in order. */
async function inTurn(jobs) {
  const results = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < jobs.length; index = next++) results[index] = await jobs[index]();
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return results;
}

let failures = 0;
function row(columns, { isRight, engine = "", said }) {
  if (!isRight) failures++;
  console.log(
    `${isRight ? "ok  " : "FAIL"} ${columns.map((text, i) => text.padEnd([16, 12, 8][i])).join(" ")} ${engine.padEnd(7)} ${said}`,
  );
}

async function testBundlers(context) {
  const document = readDocument();
  const rows = [...document.commands.keys()].flatMap((name) => [
    [name, "taken along", name === "cdk" ? "outside" : "inside"],
    [
      name,
      "left out",
      name === "cdk" || name === "esbuild-cjs" || name === "esbuild-esm" ? "outside" : "inside",
    ],
  ]);
  const results = await inTurn(rows.map((columns) => () => bundle(...columns, { ...context, document })));
  console.log("\n     bundler          addon        SDK      engine");
  rows.forEach((columns, index) => {
    row(columns, results[index]);
  });
}

async function testRunners({ modules, env }) {
  const work = mkdtempSync(path.join(tmpdir(), "frameseal-runners-")); // jest looks for no tests below node_modules
  symlinkSync(modules, path.join(work, "node_modules"));
  cpSync(path.join(here, "smoke.test.mjs"), path.join(work, "smoke.test.mjs"));
  writeFileSync(path.join(work, "package.json"), '{ "type": "module" }');
  writeFileSync(
    path.join(work, "jest.config.json"),
    JSON.stringify({
      testMatch: ["**/*.test.mjs"],
      transform: {},
      moduleFileExtensions: ["mjs", "js", "json", "node"],
    }),
  );
  writeFileSync(
    path.join(work, "vitest.config.mjs"),
    'export default { test: { globals: true, include: ["*.test.mjs"] } };',
  );
  const bin = (name) => path.join(modules, ".bin", name);
  const rows = [
    ["jest", "node", bin("jest"), ["--env=node"]],
    ["jest", "jsdom", bin("jest"), ["--env=jsdom"]],
    ["vitest", "node", bin("vitest"), ["run", "--environment=node"]],
    ["vitest", "jsdom", bin("vitest"), ["run", "--environment=jsdom"]],
    ["vitest", "happy-dom", bin("vitest"), ["run", "--environment=happy-dom"]],
  ];
  const results = await inTurn(
    rows.map(([runner, , program, args]) => async () => {
      const options = {
        cwd: work,
        env: { ...env, ...(runner === "jest" ? { NODE_OPTIONS: "--experimental-vm-modules" } : {}) },
      };
      try {
        const { stdout, stderr } = await run(program, args, options);
        const [text] = /Tests:? .*passed.*/.exec(stdout + stderr) ?? [];
        return { isRight: text !== undefined, said: (text ?? "no tests ran").trim() };
      } catch (error) {
        return { isRight: false, said: `${error.stdout}${error.stderr}`.slice(0, 3000) };
      }
    }),
  );
  rmSync(work, { recursive: true, force: true });
  console.log("\n     runner           page");
  rows.forEach(([runner, page], index) => {
    row([runner, page], results[index]);
  });
}

async function testSdk({ modules, env }) {
  const work = path.join(modules, "../work");
  mkdirSync(work, { recursive: true });
  cpSync(path.join(here, "sdk.mjs"), path.join(work, "sdk.mjs"));
  const version = (name) =>
    JSON.parse(readFileSync(path.join(modules, name, "package.json"), "utf8")).version;
  const { peerDependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  console.log("\n     client-s3        client-kms   frameseal finds");
  const found = [version("@aws-sdk/client-s3"), version("@aws-sdk/client-kms")].join(", ");
  for (const names of [
    ["@aws-sdk/client-s3", "@aws-sdk/client-kms"],
    ["client-s3-lowest", "client-kms-lowest"],
  ]) {
    let result;
    try {
      const { stdout } = await run(process.execPath, ["sdk.mjs", ...names], {
        cwd: work,
        env,
        timeout: 60_000,
      });
      result = { isRight: true, said: `${found}: ${JSON.parse(stdout).done} operations work` };
    } catch (error) {
      result = { isRight: false, said: error.stderr.slice(0, 1000) };
    }
    row(names.map(version), result);
  }
  const ranges = { "@aws-sdk/client-s3": "client-s3-lowest", "@aws-sdk/client-kms": "client-kms-lowest" };
  for (const [name, lowest] of Object.entries(ranges))
    row([name, ""], {
      isRight: peerDependencies[name] === `^${version(lowest)}`,
      said: `peer range ${peerDependencies[name]}, lowest tested ${version(lowest)}, newest ${version(name)}`,
    });
}

const modules = await install();
console.log(`installed after ${seconds()}`);
const servers = await startServers(modules);
const context = { modules, env: servers.env };
try {
  if (isWanted("bundlers")) await testBundlers(context);
  if (isWanted("runners")) await testRunners(context);
  if (isWanted("sdk")) await testSdk(context);
} finally {
  await servers.stop();
}
console.log(`\n${failures === 0 ? "all as it should be" : `${failures} rows failed`}, ${seconds()}`);
process.exitCode = failures === 0 ? 0 : 1;
