// The addon for bundlers that are told to take it along, by the condition `frameseal-addon`: one literal `require` a
// binary, which they follow. docs/BUNDLERS.md says how.
const load = require("./load.js");

function requireBinary(name) {
  switch (name) {
    case "build/Release/frameseal.node":
      return require("../build/Release/frameseal.node");
    case "prebuilds/linux-x64/frameseal.glibc.node":
      return require("../prebuilds/linux-x64/frameseal.glibc.node");
    case "prebuilds/linux-x64/frameseal.musl.node":
      return require("../prebuilds/linux-x64/frameseal.musl.node");
    case "prebuilds/linux-arm64/frameseal.glibc.node":
      return require("../prebuilds/linux-arm64/frameseal.glibc.node");
    case "prebuilds/linux-arm64/frameseal.musl.node":
      return require("../prebuilds/linux-arm64/frameseal.musl.node");
    case "prebuilds/darwin-x64/frameseal.node":
      return require("../prebuilds/darwin-x64/frameseal.node");
    case "prebuilds/darwin-arm64/frameseal.node":
      return require("../prebuilds/darwin-arm64/frameseal.node");
    case "prebuilds/win32-x64/frameseal.node":
      return require("../prebuilds/win32-x64/frameseal.node");
    default:
      throw Object.assign(new Error("no such binary"), { code: "MODULE_NOT_FOUND" });
  }
}

module.exports = () => load(requireBinary);
