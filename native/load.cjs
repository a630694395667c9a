// Finds and loads the addon: what was built from the sources, else what the package carries for this system, else what
// node-gyp-build finds. CommonJS, and one literal path a binary inside one `try`, because that is the form that bundlers
// and tracers follow without being told. Nothing is required before it is needed: a bundle in which `require` does not
// work has no addon, and must load all the same.

/** Loads one binary of the package. */
function loadBinary(name) {
  try {
    switch (name) {
      case "build/Release/frameseal.node":
        return { addon: require("../build/Release/frameseal.node") };
      case "prebuilds/linux-x64/frameseal.glibc.node":
        return { addon: require("../prebuilds/linux-x64/frameseal.glibc.node") };
      case "prebuilds/linux-x64/frameseal.musl.node":
        return { addon: require("../prebuilds/linux-x64/frameseal.musl.node") };
      case "prebuilds/linux-arm64/frameseal.glibc.node":
        return { addon: require("../prebuilds/linux-arm64/frameseal.glibc.node") };
      case "prebuilds/linux-arm64/frameseal.musl.node":
        return { addon: require("../prebuilds/linux-arm64/frameseal.musl.node") };
      case "prebuilds/darwin-x64/frameseal.node":
        return { addon: require("../prebuilds/darwin-x64/frameseal.node") };
      case "prebuilds/darwin-arm64/frameseal.node":
        return { addon: require("../prebuilds/darwin-arm64/frameseal.node") };
      case "prebuilds/win32-x64/frameseal.node":
        return { addon: require("../prebuilds/win32-x64/frameseal.node") };
      default:
        return { reason: "no such binary" };
    }
  } catch (error) {
    return { reason: briefly(error) };
  }
}

/** What can be loaded here, best first. Only Alpine tells its C library in a file; elsewhere the wrong one does not load. */
function binaries() {
  const system = `prebuilds/${process.platform}-${process.arch}/frameseal`;
  const libraries = require("node:fs").existsSync("/etc/alpine-release") ? ["musl", "glibc"] : ["glibc", "musl"];
  const prebuilt =
    process.platform === "linux" ? libraries.map((libc) => `${system}.${libc}.node`) : [`${system}.node`];
  return process.env.PREBUILDS_ONLY ? prebuilt : ["build/Release/frameseal.node", ...prebuilt];
}

function briefly(error) {
  if (error?.code === "MODULE_NOT_FOUND") return "not there";
  const code = typeof error?.code === "string" ? `${error.code}: ` : "";
  return `${code}${String(error?.message ?? error).split("\n", 1)[0]}`;
}

/**
 * Loads the addon. FRAMESEAL_PREBUILD names another directory with `build/Release` or `prebuilds` in it, and then nothing
 * else is tried; PREBUILDS_ONLY passes over what was built here. Both are variables of node-gyp-build.
 * @throws Error that says in one line what was tried
 */
module.exports = function load() {
  if (process.env.FRAMESEAL_PREBUILD) return require("node-gyp-build")(process.env.FRAMESEAL_PREBUILD);
  const tried = [];
  for (const name of binaries()) {
    const { addon, reason } = loadBinary(name);
    if (addon !== undefined) return addon;
    tried.push(`${name}: ${reason}`);
  }
  try {
    return require("node-gyp-build")(require("node:path").join(__dirname, ".."));
  } catch (error) {
    tried.push(`node-gyp-build: ${briefly(error)}`);
    throw new Error(tried.join("; "));
  }
};
