// What trials are put together from: defaults, names, and the subjects that many of them share.
import { nativeKernels } from "#frameseal/engine/native/addon.js";
import type { TrialOptions } from "../adaptor.ts";
import type { Runtime } from "../child-process.ts";
import { findPackage } from "../packages.ts";
import type { Subject, Trial } from "../run-trial.ts";

export const KiB = 1024;
export const MiB: number = 1024 * KiB;
export const GiB: number = 1024 * MiB;
const SUITE = 0x0478;

/** A trial, and whether it is only in the full set. */
export interface Listed<T = Trial> {
  readonly trial: T;
  readonly full: boolean;
}

export const directions = ["seal", "open"] as const;
export const defaults: TrialOptions = {
  size: MiB,
  frameLength: 64 * KiB,
  chunkLength: 64 * KiB,
  concurrency: 2,
  suite: SUITE,
  reuse: true,
};

/** "64 KiB" for 65536. */
export function lengthText(bytes: number): string {
  for (const [unit, name] of [
    [GiB, "GiB"],
    [MiB, "MiB"],
    [KiB, "KiB"],
  ] as const)
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit} ${name}`;
  return `${bytes} B`;
}

/** Parts of a name; numbers are lengths. */
export const idOf = (...parts: readonly (string | number)[]): string =>
  parts.map((part) => (typeof part === "number" ? lengthText(part).replace(" ", "") : part)).join("/");

/** One of our engines. */
export const ours = (adaptor: Subject["adaptor"], engine: string, more: Partial<Subject> = {}): Subject => ({
  name: `frameseal ${engine}`,
  kind: "frameseal",
  adaptor,
  ...more,
  options: { engine, ...more.options },
});
/** A library in this process. */
export const library = (name: string, adaptor: Subject["adaptor"], more: Partial<Subject> = {}): Subject => ({
  name,
  kind: "library",
  adaptor,
  ...more,
});

/** Other programs that run JavaScript, where their packages are installed. */
export function runtimes(): readonly Runtime[] {
  const found = (name: string, folder: string, file: string, args: readonly string[] = []): Runtime => ({
    name,
    command: `${findPackage(folder) ?? `/${folder} is not installed`}/${file}`,
    args,
  });
  return [
    ...["22", "24", "26"].map((version) => found(`Node ${version}`, `node${version}`, "bin/node")),
    found("Bun", "@oven/bun-linux-x64", "bin/bun"),
    found("Deno", "@deno/linux-x64-glibc", "deno", ["run", "--allow-all"]),
  ];
}
/** The same subject in another runtime. */
export const under = (runtime: Runtime, subject: Subject): Subject => ({
  ...subject,
  name: `${subject.name}, ${runtime.name}`,
  kind: "runtime",
  runtime,
});

/** Names of the engines of all kernels that work here, best first. */
export function kernelEngines(): readonly string[] {
  return nativeKernels()
    .filter(({ works }) => works)
    .map(({ name }) => `native:${name}`);
}
