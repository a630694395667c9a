// Which copy of a package of the AWS SDK made a client. A tree may hold several versions, and commands of one do not work
// with clients of another: so a client gets the commands of its own copy, or is refused before anything is sent.
import { createRequire } from "node:module";
import { FramesealError } from "./errors.ts";

/** A package of the AWS SDK, and the class of its client. */
export interface SdkPackage<Sdk> {
  readonly name: string;
  readonly client: string & keyof Sdk;
  /** Imports the copy that this package finds. */
  load(): Promise<Sdk>;
}

const copies = new WeakMap<object, WeakMap<object, Promise<unknown>>>();

/**
 * The copy whose commands work with `client`: its own, else the one found from here, if that has the same version or
 * the client does not tell its version.
 * @throws FramesealError UNSUPPORTED when there is none
 */
export function copyOf<Sdk>(sdk: SdkPackage<Sdk>, client: object): Promise<Sdk> {
  const known = copies.get(sdk) ?? new WeakMap<object, Promise<unknown>>();
  copies.set(sdk, known);
  const kind = client.constructor === Object ? client : client.constructor;
  const found = (known.get(kind) as Promise<Sdk> | undefined) ?? find(sdk, client);
  known.set(kind, found);
  found.catch(() => known.delete(kind)); // it may be installed meanwhile
  return found;
}

async function find<Sdk>(sdk: SdkPackage<Sdk>, client: object): Promise<Sdk> {
  let ours: Sdk | undefined;
  let cause: unknown;
  try {
    ours = await sdk.load();
  } catch (error) {
    cause = error;
  }
  if (ours !== undefined && made(ours, sdk, client)) return ours;
  const own = loadedCopies(sdk).find((copy) => made(copy, sdk, client));
  if (own !== undefined) return own;
  if (ours === undefined)
    throw new FramesealError("UNSUPPORTED", `the package "${sdk.name}" is needed`, { cause });
  const [theirVersion, ourVersion] = [await versionOf(client), await versionOf(newClient(ours, sdk))];
  if (theirVersion === undefined || theirVersion === ourVersion) return ours;
  throw new FramesealError(
    "UNSUPPORTED",
    `the client is of ${sdk.name} ${theirVersion}, but frameseal finds ${ourVersion}, whose commands do not work with ` +
      `it: install one version for both ("npm ls ${sdk.name}" shows who asks for which, "npm dedupe" or "overrides" ` +
      "in package.json unite them)",
  );
}

/** True if `client`, or what it was derived from, is of the class of this copy. */
function made<Sdk>(copy: Sdk, sdk: SdkPackage<Sdk>, client: object): boolean {
  const { prototype } = copy[sdk.client] as { readonly prototype?: object };
  return prototype !== undefined && Object.prototype.isPrototypeOf.call(prototype, client);
}

// The SDK is CommonJS: however it was imported, Node lists it here. A bundle lists nothing, and has its copy inside.
function loadedCopies<Sdk>(sdk: SdkPackage<Sdk>): Sdk[] {
  const { cache } = createRequire(process.execPath);
  return Object.keys(cache ?? {}).flatMap((file) => {
    const exported: unknown = cache[file]?.exports;
    if (typeof exported !== "object" || exported === null || !Object.hasOwn(exported, sdk.client)) return [];
    return [exported as Sdk];
  });
}

function newClient<Sdk>(copy: Sdk, sdk: SdkPackage<Sdk>): object {
  const Client = copy[sdk.client] as new (config: object) => object;
  return new Client({ region: "us-east-1" });
}

async function versionOf(client: object): Promise<string | undefined> {
  const { config } = client as {
    readonly config?: { defaultUserAgentProvider?(): Promise<readonly (readonly string[])[]> };
  };
  try {
    const agent = await config?.defaultUserAgentProvider?.();
    return agent?.find(([name]) => name === "aws-sdk-js")?.[1];
  } catch {
    return undefined;
  }
}
