// Kernels alone, at the level of C++.
import type { KernelTrial } from "../run-kernels.ts";
import { directions, idOf, KiB, type Listed, lengthText, MiB } from "./subjects.ts";

const common = { group: "kernels", threads: 1, reference: "openssl-evp" } as const;

export function* listKernelTrials(): Generator<Listed<KernelTrial>> {
  for (const direction of directions)
    for (const length of [16, 4 * KiB, 64 * KiB, MiB])
      yield {
        full: false,
        trial: {
          ...common,
          id: idOf("kernels", direction, length),
          title: `One message of ${lengthText(length)} in C++, one thread, key kept`,
          operation: direction,
          unit: "bytes",
          size: length,
          direction,
          length,
          besideJavaScript: direction === "seal" && length === 64 * KiB,
        },
      };
  yield {
    full: false,
    trial: {
      ...common,
      id: "kernels/key-set-up",
      title: "Key expansion in C++: round keys and powers of H",
      operation: "set up",
      unit: "calls",
      direction: "setKey",
      length: 0,
    },
  };
}
