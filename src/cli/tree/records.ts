// What is told of a tree, as records for programs and as lines for people.
import type { Action, ItemRecord } from "../../backup/report.ts";
import { codeToldOf, describe } from "../failure.ts";
import { formatBytes } from "../output.ts";

/** What an action has done, and what it would do. */
export const actionWords: Readonly<Record<Action, { readonly done: string; readonly would: string }>> = {
  put: { done: "stored", would: "would store" },
  get: { done: "restored", would: "would restore" },
  skip: { done: "unchanged", would: "would leave" },
  delete: { done: "deleted", would: "would delete" },
  verify: { done: "verified", would: "would verify" },
  rewrap: { done: "wrapped anew", would: "would wrap anew" },
  list: { done: "listed", would: "would list" },
};

/** A record of one entry. */
export function itemRecord(item: ItemRecord, untrusted: boolean): Readonly<Record<string, unknown>> {
  const { error, dryRun, untrusted: _, ...fields } = item;
  const failed = error !== undefined;
  return {
    record: "item",
    ...fields,
    ...(dryRun === true ? { dryRun } : {}),
    ...(failed ? { error: describe(error), code: codeToldOf(error) } : {}),
    ...(untrusted ? { untrusted } : {}),
  };
}

/** The value with numbers of any length as decimal digits, as JSON can have it. */
export function withoutBigints(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(withoutBigints);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutBigints(each)]));
}

/** What would be done to an entry, as a line. */
export function plannedLine({ action, path, size, reason, type }: ItemRecord): string {
  const details = [
    type === "file" ? undefined : type,
    reason,
    size === undefined ? undefined : formatBytes(size),
  ];
  const told = details.filter((each) => each !== undefined);
  return `${actionWords[action].would} ${path}${told.length === 0 ? "" : ` (${told.join(", ")})`}`;
}
