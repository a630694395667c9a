// Finds and loads the addon: what was built from the sources, else what the package carries for this system, else what
// node-gyp-build finds. CommonJS, as addons are loaded there. Nothing is required before it is needed: a bundle in which
// `require` does not work has no addon, and must load all the same.

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
 * Loads the addon; `loadBinary` loads one binary by its path in the package. FRAMESEAL_PREBUILD names another directory
 * with `build/Release` or `prebuilds` in it, and then nothing else is tried; PREBUILDS_ONLY passes over what was built
 * here. Both are variables of node-gyp-build.
 * @throws Error that says in one line what was tried
 */
module.exports = function load(loadBinary) {
  if (process.env.FRAMESEAL_PREBUILD) return require("node-gyp-build")(process.env.FRAMESEAL_PREBUILD);
  const tried = [];
  for (const name of binaries()) {
    try {
      const addon = loadBinary(name);
      if (addon !== undefined) return addon.default ?? addon; // bundlers may put a module around it
      tried.push(`${name}: not there`);
    } catch (error) {
      tried.push(`${name}: ${briefly(error)}`);
    }
  }
  try {
    return require("node-gyp-build")(require("node:path").join(__dirname, ".."));
  } catch (error) {
    tried.push(`node-gyp-build: ${briefly(error)}`);
    throw new Error(tried.join("; "));
  }
};
