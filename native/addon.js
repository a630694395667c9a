// The addon, as Node loads it: `#addon` in package.json. Bundlers that would stop at a `.node` file do not follow these
// paths; tracers (ncc, @vercel/nft) do, because each is literal, in a `.js` file. For the others: addon-bundled.js.
const load = require("./load.js");

function fileOf(name) {
  const path = require("path");
  switch (name) {
    case "build/Release/frameseal.node":
      return path.join(__dirname, "../build/Release/frameseal.node");
    case "prebuilds/linux-x64/frameseal.glibc.node":
      return path.join(__dirname, "../prebuilds/linux-x64/frameseal.glibc.node");
    case "prebuilds/linux-x64/frameseal.musl.node":
      return path.join(__dirname, "../prebuilds/linux-x64/frameseal.musl.node");
    case "prebuilds/linux-arm64/frameseal.glibc.node":
      return path.join(__dirname, "../prebuilds/linux-arm64/frameseal.glibc.node");
    case "prebuilds/linux-arm64/frameseal.musl.node":
      return path.join(__dirname, "../prebuilds/linux-arm64/frameseal.musl.node");
    case "prebuilds/darwin-x64/frameseal.node":
      return path.join(__dirname, "../prebuilds/darwin-x64/frameseal.node");
    case "prebuilds/darwin-arm64/frameseal.node":
      return path.join(__dirname, "../prebuilds/darwin-arm64/frameseal.node");
    case "prebuilds/win32-x64/frameseal.node":
      return path.join(__dirname, "../prebuilds/win32-x64/frameseal.node");
    default:
      throw Object.assign(new Error("no such binary"), { code: "MODULE_NOT_FOUND" });
  }
}

module.exports = () =>
  load((name) => {
    const file = fileOf(name);
    if (!require("fs").existsSync(file)) throw Object.assign(new Error("not there"), { code: "MODULE_NOT_FOUND" });
    // As `require` does it; but a bundle may have none.
    const binary = { exports: {} };
    process.dlopen(binary, file);
    return binary.exports;
  });
