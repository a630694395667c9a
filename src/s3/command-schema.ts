// What a command of the SDK says of itself: the operation it sends, and whether that carries bytes besides headers and
// XML. The SDK keeps this as plain arrays (older versions as objects, the oldest not at all); both forms are read here.
import type { CommandContext } from "./sdk-client.ts";

/** The operation that a command sends, as its context tells. */
export interface Operation {
  /** The SDK's name without `Command`; undefined when nothing tells it. */
  readonly name: string | undefined;
  /** What the command is serialized by; undefined in versions of the SDK that have no schemas. */
  readonly schema: unknown;
}

const SMITHY_CONTEXT = "__smithy_context";

/**
 * The operation behind `context`. The schema decides, because the request is made from it: class names are minified and
 * subclassed, and `commandName` is only a label.
 */
export function operationOf(context: CommandContext): Operation {
  const smithy = context[SMITHY_CONTEXT] as
    | { operationSchema?: unknown; operation?: unknown; commandInstance?: { schema?: unknown } }
    | undefined;
  const schema = smithy?.operationSchema ?? smithy?.commandInstance?.schema;
  const named = nameOf(schema) ?? smithy?.operation ?? context.commandName?.replace(/Command$/, "");
  return { name: typeof named === "string" && named !== "" ? named : undefined, schema };
}

/** What a request or an answer carries besides fields in its headers, path and query. */
export interface Carried {
  /** A blob or a stream of bytes or events, at any depth. */
  readonly bytes: boolean;
  /** One field that is the whole body. */
  readonly payload: boolean;
  /** A body of any kind. */
  readonly body: boolean;
}

/** What the operation of `schema` carries in its request and in its answer; undefined when the schema cannot be read. */
export function carriedBy(
  schema: unknown,
): { readonly input: Carried; readonly output: Carried } | undefined {
  if (typeof schema !== "object" || schema === null) return undefined;
  const known = cache.get(schema);
  if (known !== undefined) return known;
  const sides = Array.isArray(schema)
    ? [schema[4], schema[5]]
    : [(schema as { input?: unknown }).input, (schema as { output?: unknown }).output];
  const [input, output] = sides.map(carriedByStructure);
  if (input === undefined || output === undefined) return undefined;
  const carried = { input, output };
  cache.set(schema, carried);
  return carried;
}

const cache = new WeakMap<object, { readonly input: Carried; readonly output: Carried }>();

// Numbers that stand for simple types, and traits as bits (smithy's schema sentinels).
const BLOB = 21;
const STREAMING_BLOB = 42;
const LIST_OF = 64;
const MAP_OF = 128;
const PAYLOAD_BIT = 0b0001_0000;
const BOUND_BY_BIT = 0b0110_0001; // httpLabel, httpResponseCode, httpQueryParams
const BOUND_BY_NAME = [
  "httpLabel",
  "httpHeader",
  "httpPrefixHeaders",
  "httpQuery",
  "httpQueryParams",
  "httpResponseCode",
  "hostLabel",
];

interface Member {
  readonly type: unknown;
  readonly traits: unknown;
}

function carriedByStructure(reference: unknown): Carried | undefined {
  const structure = dereference(reference);
  if (structure === "unit") return { bytes: false, payload: false, body: false };
  const members = membersOf(structure);
  if (members === undefined) return undefined;
  const seen = new Set<unknown>();
  return {
    bytes: members.some(({ type, traits }) => hasBytes(type, seen) || has(traits, "streaming")),
    payload: members.some(({ traits }) => isPayload(traits)),
    body: members.some(({ traits }) => !isBound(traits)),
  };
}

function membersOf(structure: unknown): Member[] | undefined {
  const [names, list] = Array.isArray(structure)
    ? [structure[4], structure[5]]
    : [
        (structure as { memberNames?: unknown } | null)?.memberNames,
        (structure as { memberList?: unknown } | null)?.memberList,
      ];
  if (!Array.isArray(names) || !Array.isArray(list)) return undefined;
  return list.map((member: unknown) => {
    const isPair = Array.isArray(member) && !isSchemaArray(member);
    return isPair ? { type: member[0], traits: member[1] } : { type: member, traits: 0 };
  });
}

function hasBytes(reference: unknown, seen: Set<unknown>): boolean {
  const type = dereference(reference);
  if (typeof type === "number") {
    const simple = type & ~(LIST_OF | MAP_OF);
    return type === STREAMING_BLOB || type === BLOB || ((type & (LIST_OF | MAP_OF)) !== 0 && simple === BLOB);
  }
  if (typeof type !== "object" || type === null || seen.has(type)) return false;
  seen.add(type);
  const traits = Array.isArray(type) ? type[3] : (type as { traits?: unknown }).traits;
  if (has(traits, "streaming")) return true;
  const members = membersOf(type);
  if (members !== undefined) return members.some((member) => hasBytes(member.type, seen));
  // A simple type, a list or a map: what it is made of.
  const parts = Array.isArray(type)
    ? type.slice(4)
    : ["schemaRef", "valueSchema", "keySchema"].map((name) => (type as Record<string, unknown>)[name]);
  return parts.some((part) => {
    const isPair = Array.isArray(part) && !isSchemaArray(part);
    return hasBytes(isPair ? part[0] : part, seen);
  });
}

function isPayload(traits: unknown): boolean {
  return typeof traits === "number" ? (traits & PAYLOAD_BIT) !== 0 : has(traits, "httpPayload");
}

function isBound(traits: unknown): boolean {
  return typeof traits === "number"
    ? (traits & BOUND_BY_BIT) !== 0
    : BOUND_BY_NAME.some((name) => has(traits, name));
}

function has(traits: unknown, name: string): boolean {
  return typeof traits === "object" && traits !== null && name in traits;
}

// [kind, namespace, name, traits, ...]; a member is a pair of such a schema and traits.
function isSchemaArray(value: readonly unknown[]): boolean {
  return value.length >= 4 && typeof value[0] === "number" && typeof value[2] === "string";
}

function dereference(reference: unknown): unknown {
  let schema = reference;
  while (typeof schema === "function") schema = (schema as () => unknown)();
  return schema;
}

function nameOf(schema: unknown): unknown {
  return Array.isArray(schema) ? schema[2] : (schema as { name?: unknown } | undefined)?.name;
}
