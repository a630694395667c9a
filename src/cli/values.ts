// What is typed behind an option: text -> numbers, words, addresses and pairs. Errors say what was expected; whoever
// knows the option puts its name before that.
import type { EncryptionContext } from "../format/encryption-context.ts";
import { formatSuiteId, suites } from "../format/suite.ts";
import { UsageError } from "./failure.ts";
import { shown } from "./names.ts";

/** The name of an option as it is typed. */
export function typed(attribute: string): string {
  return `--${attribute.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

const repeatable = new WeakSet<object>();

/** Says of a parser that its option can be given several times. */
export function forRepeatable<Parser extends object>(parser: Parser): Parser {
  repeatable.add(parser);
  return parser;
}

/** Whether that was said. */
export function isForRepeatable(parser: object): boolean {
  return repeatable.has(parser);
}

/** For repeatable options. */
export function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
forRepeatable(collect);

const multipliers: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** One of a few words. */
export function oneOf(...words: readonly string[]): (text: string) => string {
  return (text) => {
    if (!words.includes(text))
      throw new UsageError(`expected ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);
    return text;
  };
}

/** `65536`, `64K`, `64KiB`, `1M`; K is 1,024. */
export function parseSize(text: string): number {
  const match = /^([0-9]{1,16})([KMGT]?)(?:i?B)?$/i.exec(text);
  const size = Number(match?.[1]) * (multipliers[match?.[2]?.toUpperCase() ?? ""] ?? Number.NaN);
  if (!Number.isSafeInteger(size))
    throw new UsageError("expected a length in bytes, such as 65536, 64K or 1M");
  return size;
}

/** A whole number from 1 on. */
export function parseCount(text: string): number {
  const count = /^[0-9]{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1) throw new UsageError("expected a whole number from 1 on");
  return count;
}

/** `0x0478` or `0478`. */
export function parseSuite(text: string): number {
  const id = /^(0x)?[0-9a-f]{1,4}$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
  const writable = suites.filter((suite) => suite.kdf !== "none").map((suite) => suite.id);
  if (!writable.includes(id))
    throw new UsageError(`expected one of ${writable.map(formatSuiteId).join(", ")}`);
  return id;
}

/** `native`, `node` or `native:KERNEL`. */
export function parseEngine(text: string): string {
  if (!/^(node|native(:[a-z0-9-]+)?)$/.test(text))
    throw new UsageError("expected native, node, or native:KERNEL with a kernel that frameseal engine shows");
  return text;
}

/** An address of a service. */
export function parseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || !/^https?:\/\//i.test(text))
    throw new UsageError("expected an address such as https://s3.example.com");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw new UsageError("expected an address without user, password or query");
  return text;
}

/** An account of AWS, and the partition it is in. */
export function parseAccount(text: string): string {
  if (!/^[0-9]{12}(:aws[a-z-]*)?$/.test(text))
    throw new UsageError("expected an account of 12 digits, and behind a colon a partition such as aws-cn");
  return text;
}

/** A name that can be a part of the name of a host. */
export function parseRegion(text: string): string {
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i.test(text))
    throw new UsageError("expected a region such as eu-central-1");
  return text;
}

/** `key=value` pairs; a value may contain `=`. @param option its name, for errors */
export function parsePairs(option: string, pairs: readonly string[] | undefined): EncryptionContext {
  const parsed: Record<string, string> = Object.create(null);
  for (const pair of pairs ?? []) {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`--${option} ${shown(pair)} is no pair: give key=value`);
    const key = pair.slice(0, at);
    if (Object.hasOwn(parsed, key)) throw new UsageError(`--${option} has ${shown(key)} twice`);
    parsed[key] = pair.slice(at + 1);
  }
  return parsed;
}
