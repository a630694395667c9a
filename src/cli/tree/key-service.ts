// Which calls of a key service a run on a tree has made, and how it could do with fewer.
import type { Report } from "../../backup/report.ts";
import { requestCounts } from "../contacted.ts";

/** From so many data keys on, it is worth to know that fewer would do. */
const MANY = 100;

/** Tells it, at the end of a run. Objects of the other formats have a data key each, whatever they are bound to. */
export function tellKeyService(
  { bind = "key", format = "framed" }: { readonly bind?: string; readonly format?: string },
  report: Pick<Report, "fact" | "warn">,
): void {
  const calls = requestCounts("kms");
  if (Object.keys(calls).length === 0) return;
  report.fact("key-service", calls);
  if ((calls.GenerateDataKey ?? 0) < MANY || format !== "framed" || bind === "prefix" || bind === "none")
    return;
  report.warn(
    "every file took a call of the key service, because objects are bound to their keys: with --bind prefix, one call " +
      "serves up to 1,000 files of a folder",
  );
}
