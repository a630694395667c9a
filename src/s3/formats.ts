// The formats of encrypted objects: which one is written, and which are tried on reading.
import { FramedFormat, type FramedObjectOptions } from "./framed-object.ts";
import type { ObjectFormat, ObjectMetadata } from "./object-format.ts";

/** Formats that can be written. */
export type FormatName = "framed";

/** Options of all formats. */
export interface FormatOptions extends FramedObjectOptions {
  /** What is written; by default `framed`. */
  readonly format?: FormatName | undefined;
}

/** The formats as configured. */
export interface Formats {
  readonly written: ObjectFormat;
  readonly all: readonly ObjectFormat[];
  /** The format of a stored object; framed when its metadata says nothing. */
  recognise(metadata: ObjectMetadata): ObjectFormat;
}

/** @throws TypeError, RangeError, FramesealError for options that are wrong */
export function createFormats(options: FormatOptions): Formats {
  const framed = new FramedFormat(options);
  const all: readonly ObjectFormat[] = [framed];
  const name = options.format ?? "framed";
  const written = all.find((format) => format.name === name);
  if (written === undefined)
    throw new TypeError(
      `"format" expected one of ${all.map((format) => format.name).join(", ")}, got ${name}`,
    );
  return {
    written,
    all,
    recognise: (metadata) => all.find((format) => format.recognises(metadata)) ?? framed,
  };
}
