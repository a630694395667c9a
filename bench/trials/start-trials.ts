// What starting costs: our command line, and importing the library, beside a Node that does nothing.
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findPackage } from "../packages.ts";
import type { ProgramTrial } from "../run-programs.ts";
import type { WorkFiles } from "../work-files.ts";
import { frameseal, keyArguments, ourCommand, program, quote } from "./commands.ts";
import type { Listed } from "./subjects.ts";

export function listStartTrials(files: WorkFiles): readonly Listed<ProgramTrial>[] {
  return [
    {
      full: false,
      trial: {
        id: "starts/encrypt",
        group: "starts",
        title: "frameseal encrypt of 1 KiB, start included",
        operation: "seal",
        unit: "starts",
        size: 1024,
        unitsPerRun: 1,
        rounds: 15,
        reference: "node -e 0",
        subjects: [
          ourCommand(
            () =>
              `${frameseal("encrypt", ...keyArguments(files), "--no-sync", files.plain(1024), "-f", "-o", files.path("small"))}`,
          ),
          program("node -e 0", [], () => `${quote(process.execPath)} -e 0`),
        ],
      },
    },
    {
      full: false,
      trial: {
        id: "starts/import",
        group: "starts",
        title: "A process that imports the library and ends",
        operation: "import",
        unit: "starts",
        unitsPerRun: 1,
        rounds: 15,
        reference: "node -e 0",
        subjects: [
          program(
            "frameseal",
            [],
            () => importing(fileURLToPath(new URL("../../index.js", import.meta.url))),
            {
              kind: "frameseal",
            },
          ),
          program("@aws-crypto/client-node", [], () => {
            const peer = findPackage("@aws-crypto/client-node");
            if (peer === undefined) throw new Error("the package @aws-crypto/client-node is not installed");
            return `${quote(process.execPath, "-e", `require(${JSON.stringify(peer)})`)}`;
          }),
          program("node -e 0", [], () => `${quote(process.execPath)} -e 0`),
        ],
      },
    },
  ];
}

const importing = (file: string): string =>
  quote(process.execPath, "--input-type=module", "-e", `import ${JSON.stringify(pathToFileURL(file).href)}`);
