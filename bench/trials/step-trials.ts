// The micro layer: steps that a message takes besides its body, and key set-up, timed by the package `benchmark`.
import type { Subject, Trial } from "../run-trial.ts";
import type { WorkFiles } from "../work-files.ts";
import { defaults, type Listed, library, ours } from "./subjects.ts";

const clientNode = "@aws-crypto/client-node";
const us = (adaptor: Subject["adaptor"]): Subject => ({ name: "frameseal", kind: "frameseal", adaptor });

export function* listStepTrials(files: WorkFiles): Generator<Listed> {
  yield step("steps/key-set-up", "set up", {
    title: "Key set-up: a raw key becomes one that seals, and is wiped again",
    reference: "node:crypto",
    subjects: [
      ours("our gcm calls", "native"),
      ours("our gcm calls", "node"),
      library("node:crypto", "node gcm calls"),
      library("WebCrypto", "webcrypto"),
      library("@noble/ciphers", "noble"),
    ],
  });
  for (const direction of ["seal", "open"] as const) {
    const [wrap, write] = direction === "seal" ? ["wrap", "write"] : ["unwrap", "parse"];
    yield step(`steps/${wrap}-aes`, direction, {
      title: `A data key ${wrap}ped by a raw AES key`,
      reference: clientNode,
      subjects: [
        us("our AES wrap"),
        library(clientNode, "client-node AES wrap"),
        library("node:crypto, no format", "node AES wrap"),
      ],
    });
    yield step(`steps/${wrap}-rsa`, direction, {
      title: `A data key ${wrap}ped by RSA-OAEP, 3072 bits`,
      reference: clientNode,
      place: async () => files.rsaKey(),
      subjects: [
        us("our RSA wrap"),
        library(clientNode, "client-node RSA wrap"),
        library("node:crypto, no format", "node RSA wrap"),
        library("WebCrypto, no format", "webcrypto RSA wrap"),
      ],
    });
    yield step(`steps/${write}-header`, direction, {
      title: `A message header ${direction === "seal" ? "written" : "parsed"}, three pairs of context`,
      reference: clientNode,
      subjects: [us("our header"), library(clientNode, "client-node header")],
    });
  }
  yield step("steps/derive", "seal", {
    title: "Message key and commitment derived by HKDF-SHA-512",
    reference: clientNode,
    subjects: [
      us("our derivation"),
      library(clientNode, "client-node derivation"),
      library("node:crypto", "node derivation"),
      library("WebCrypto", "webcrypto derivation"),
    ],
  });
}

function step(
  id: string,
  direction: Trial["direction"],
  parts: Pick<Trial, "title" | "reference" | "subjects"> & Partial<Trial>,
): Listed {
  return {
    full: false,
    trial: {
      id,
      group: "steps",
      operation: direction,
      direction,
      workload: "buffers",
      unit: "calls",
      byBenchmark: true,
      options: { ...defaults, size: 32 },
      ...parts,
    },
  };
}
