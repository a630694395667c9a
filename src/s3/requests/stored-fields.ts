// What answers say of the stored bytes of an object, where a caller would take it for his plaintext: checksums, sizes,
// counts of parts. One table for all commands; what they say of parts of an upload is needed to complete it.

/** Commands whose answers are about a whole object. */
const aboutObjects: ReadonlySet<string> = new Set([
  "PutObject",
  "CompleteMultipartUpload",
  "CopyObject",
  "GetObject",
  "HeadObject",
]);

/** Answers in which the result stands one level deeper. */
const NESTED = "CopyObjectResult";

/** True for a field that describes stored bytes. `ContentLength` and `ContentRange` are translated where they stand. */
export function describesStored(field: string): boolean {
  return field.startsWith("Checksum") || field === "Size" || field === "PartsCount";
}

/** The answer to a command without what describes stored bytes. */
export function withoutStoredFields(
  command: string,
  output: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (!aboutObjects.has(command)) return { ...output };
  const told = without(output);
  const nested = told[NESTED];
  if (typeof nested === "object" && nested !== null) told[NESTED] = without(nested);
  return told;
}

function without(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !describesStored(name)));
}
