// What options the public functions of an entry take, read from their types, so that a test can demand a row for each.
import { fileURLToPath } from "node:url";
import {
  API,
  type Checker,
  SignatureKind,
  type Type,
  type Symbol as TypeSymbol,
} from "typescript/unstable/sync";

/** One parameter that is an object with names of ours. */
export interface PublicParameter {
  /** `encrypt`, `new MultiKeyring`, `MessageReader.read`. */
  readonly callee: string;
  /** The name of its type. */
  readonly type: string;
  readonly names: readonly string[];
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The parameters of everything that `src/ENTRY.ts` exports and that can be called, methods too. */
export function publicParameters(entry: string): readonly PublicParameter[] {
  const api = new API({ cwd: root });
  try {
    const configuration = `${root}tsconfig.json`;
    const project = api.updateSnapshot({ openProject: configuration }).getProject(configuration);
    const file = project?.program.getSourceFile(`${root}src/${entry}.ts`);
    if (project === undefined || file === undefined) throw new Error(`no ${entry}`);
    const { checker } = project;
    const module = checker.getSymbolAtLocation(file);
    if (module === undefined) throw new Error("no exports");
    return checker.getExportsOfModule(module).flatMap((symbol) => parametersOf(checker, symbol));
  } finally {
    api.close();
  }
}

function parametersOf(checker: Checker, symbol: TypeSymbol): PublicParameter[] {
  const value = checker.getTypeOfSymbol(symbol);
  const found = value === undefined ? [] : inSignatures(checker, symbol.name, value);
  const declared = checker.getDeclaredTypeOfSymbol(symbol);
  if (declared.isErrorType() || !declared.isClassOrInterface()) return found;
  const methods = checker
    .getPropertiesOfType(declared)
    .filter((member) => !member.name.startsWith("__") && isOurs(member))
    .flatMap((member) => {
      const type = checker.getTypeOfSymbol(member);
      return type === undefined ? [] : inSignatures(checker, `${symbol.name}.${member.name}`, type);
    });
  return [...found, ...methods];
}

function inSignatures(checker: Checker, name: string, type: Type): PublicParameter[] {
  return [SignatureKind.Call, SignatureKind.Construct].flatMap((kind) =>
    checker.getSignaturesOfType(type, kind).flatMap((signature) =>
      signature.getParameters().flatMap((_, index) => {
        const parameter = checker.getParameterType(signature, index);
        const parts = parameter?.isUnionType() ? parameter.getTypes() : [parameter];
        return parts.flatMap((part) => {
          const owner = part?.getAliasSymbol() ?? part?.getSymbol();
          if (part === undefined || owner === undefined || !isOurs(owner)) return [];
          const names = checker.getPropertiesOfType(part).map((property) => property.name);
          const callee = kind === SignatureKind.Construct ? `new ${name}` : name;
          return names.length === 0 ? [] : [{ callee, type: owner.name, names }];
        });
      }),
    ),
  );
}

// Types of Node and of the SDK are theirs.
function isOurs(symbol: TypeSymbol): boolean {
  return symbol.declarations.some(({ path }) => path.startsWith(`${root}src/`));
}
