// Finds packages that are not dependencies of this one: in `bench/peers/` of a checkout, where the user is, or beside us.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Absent } from "./adaptor.ts";

/** The folder of this package. */
export const packageFolder: string = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

const bases: readonly string[] = [path.join(packageFolder, "bench/peers"), process.cwd(), packageFolder];

/** Folder of the package `name`, or undefined. */
export function findPackage(name: string): string | undefined {
  for (const base of bases)
    for (let folder = base; ; folder = path.dirname(folder)) {
      const found = path.join(folder, "node_modules", name);
      if (existsSync(path.join(found, "package.json"))) return found;
      if (folder === path.dirname(folder)) break;
    }
  return undefined;
}

/** `version` of an installed package, or undefined. */
export function packageVersion(name: string): string | undefined {
  const folder = findPackage(name);
  if (folder === undefined) return undefined;
  const { version } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
    readonly version: string;
  };
  return version;
}

type Exports = string | { readonly [condition: string]: Exports } | undefined;

/**
 * Imports `name`, or the file `subpath` of it, such as "aes.js".
 * @throws Absent if it is not installed or does not load here
 */
export async function importPackage<T>(name: string, subpath?: string): Promise<T> {
  const folder = findPackage(name);
  if (folder === undefined) throw new Absent(`the package ${name} is not installed`);
  try {
    return (await import(pathToFileURL(entryOf(folder, name, subpath)).href)) as T;
  } catch (error) {
    throw new Absent(`${name} does not load: ${(error as Error).message.split("\n")[0]}`);
  }
}

// `require.resolve` finds no entry that is meant for `import` alone, and import.meta.resolve takes no folder.
function entryOf(folder: string, name: string, subpath: string | undefined): string {
  try {
    return createRequire(path.join(folder, "package.json")).resolve(
      subpath === undefined ? name : `${name}/${subpath}`,
    );
  } catch {
    const { exports, main } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
      readonly exports?: Exports;
      readonly main?: string;
    };
    const key = subpath === undefined ? "." : `./${subpath}`;
    let entry: Exports = exports !== undefined && typeof exports !== "string" ? exports[key] : exports;
    while (entry !== undefined && typeof entry !== "string") entry = entry.import ?? entry.default;
    return path.join(folder, entry ?? subpath ?? main ?? "index.js");
  }
}
