// What of the public API can keep its caller waiting, told by TypeScript: exported functions, constructors and methods of
// exported types that return a promise, an async iterable or a stream, or objects that hold one.
import { fileURLToPath } from "node:url";
import {
  API,
  type Checker,
  type Symbol as Named,
  SignatureKind,
  SymbolFlags,
  type Type,
} from "typescript/unstable/sync";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The entries of the package. */
export const entries = ["index", "kms", "client-node", "testing", "s3"] as const;
export type Entry = (typeof entries)[number];

/** For each entry `function` or `Type.method`, in the order of the alphabet. */
export function asynchronousApi(): ReadonlyMap<Entry, readonly string[]> {
  const api = new API({ cwd: root });
  try {
    const configuration = `${root}tsconfig.json`;
    const project = api.updateSnapshot({ openProject: configuration }).getProject(configuration);
    if (project === undefined) throw new Error("no project");
    const { checker, program } = project;
    return new Map(
      entries.map((entry) => {
        const file = program.getSourceFile(`${root}src/${entry}.ts`);
        const module = file === undefined ? undefined : checker.getSymbolAtLocation(file);
        if (module === undefined) throw new Error(`no exports of ${entry}`);
        const names = checker.getExportsOfModule(module).flatMap((each) => waitingIn(checker, each));
        return [entry, [...new Set(names)].sort()];
      }),
    );
  } finally {
    api.close();
  }
}

function waitingIn(checker: Checker, exported: Named): string[] {
  const symbol = (exported.flags & SymbolFlags.Alias) === 0 ? exported : checker.getAliasedSymbol(exported);
  const { name } = exported;
  const found: string[] = [];
  if ((symbol.flags & SymbolFlags.Value) !== 0) {
    const type = checker.getTypeOfSymbol(symbol);
    if (type !== undefined && callsWait(checker, type)) found.push(name);
  }
  if ((symbol.flags & SymbolFlags.Type) !== 0) {
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    for (const property of checker.getPropertiesOfType(type)) {
      const isOurs = property.declarations.some(({ path }) => path.includes("/src/")); // and not of Node's classes
      if (!isOurs || property.name.includes("#")) continue;
      const own = checker.getTypeOfSymbol(property);
      if (own !== undefined && (callsWait(checker, own) || waits(checker, own)))
        found.push(`${name}.${property.name.replace(/^__@(\w+)@\d+$/, "[$1]")}`);
    }
  }
  return found;
}

function callsWait(checker: Checker, type: Type): boolean {
  return alternatives(type).some((each) =>
    checker.getSignaturesOfType(each, SignatureKind.Call).some((signature) => {
      const returned = checker.getReturnTypeOfSignature(signature);
      return returned !== undefined && waits(checker, returned);
    }),
  );
}

/** Promises, streams, async iterables. */
function waits(checker: Checker, type: Type): boolean {
  return alternatives(type).some((each) => {
    const names = checker.getPropertiesOfType(each).map(({ name }) => name);
    return (
      ["then", "pipe", "getReader", "getWriter"].some((name) => names.includes(name)) ||
      (names.includes("readable") && names.includes("writable")) ||
      names.some((name) => name.includes("asyncIterator"))
    );
  });
}

function alternatives(type: Type): readonly Type[] {
  return type.isUnionType() ? (type.getTypes() ?? []) : [type];
}
