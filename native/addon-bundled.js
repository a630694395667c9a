// The addon for bundlers that are told to take it along, by the condition `frameseal-addon`: one literal `require` a
// binary, which they follow. docs/BUNDLERS.md says how.
const load = require("./load.js");

function requireBinary(name) {
  // Inside a `try`, a binary that is not there is no error of the build.
  try {
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
        return undefined;
    }
  } catch (error) {
    throw error;
  }
}

module.exports = () => load(requireBinary);
