// Instruction files: the envelope of an object, or the movable part of it, in another object next to it.
import { decodeUtf8 } from "../../bytes.ts";
import { FramesealError } from "../../errors.ts";
import type { ObjectMetadata, SideObject } from "../object-format.ts";
import { envelopeNames } from "../object-metadata.ts";
import { encodeAsciiJson, parseStringMap } from "./metadata-text.ts";

/** Longest file that is read. Wrapped key and description fit many times over. */
export const MAX_INSTRUCTION_FILE_LENGTH = 64 * 1024;

/** Makes the file that is stored under `key`. */
export function encodeInstructionFile(key: string, entries: ObjectMetadata): SideObject {
  return {
    key,
    body: Buffer.from(encodeAsciiJson(entries), "ascii"),
    metadata: { [envelopeNames.instructionFile]: "" },
    entries,
  };
}

/**
 * Reads a file. Its marker is not needed: not every client writes it.
 * @throws FramesealError INVALID_METADATA
 */
export function decodeInstructionFile(body: Uint8Array): ObjectMetadata {
  const text = decodeUtf8(body);
  if (text === undefined)
    throw new FramesealError("INVALID_METADATA", "the instruction file of the object is not UTF-8");
  return parseStringMap(text, "instruction file");
}

/** True for an instruction file: one that has the marker, or whose content is nothing but entries of an envelope. */
export function isInstructionFile(metadata: ObjectMetadata, body: Uint8Array): boolean {
  if (Object.hasOwn(metadata, envelopeNames.instructionFile)) return true;
  try {
    const names = Object.keys(decodeInstructionFile(body));
    return keyNames.some((name) => names.includes(name)) && names.every((name) => allNames.has(name));
  } catch {
    return false;
  }
}

const allNames: ReadonlySet<string> = new Set(Object.values(envelopeNames));
const keyNames = [envelopeNames.key1, envelopeNames.key2, envelopeNames.key3];
