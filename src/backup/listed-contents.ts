// The objects of a page of ListObjectsV2, read from its text: a page has a thousand, and what the SDK does for each costs
// more than all else that a run does for an object that has not changed. The rest of the page is left to the SDK.
import { Readable } from "node:stream";
import type * as S3 from "@aws-sdk/client-s3";
import { decodeUtf8 } from "../bytes.ts";

/** What is taken of an object. */
export type ListedContent = Required<Pick<S3._Object, "Key" | "ETag" | "Size">>;

/** As much as a thousand keys of a thousand characters, each written as three. */
const MAX_PAGE_LENGTH = 16 * 2 ** 20;

/**
 * Makes `command` hand over the objects of its answer, which then has none.
 * @param take called for each attempt
 */
export function takeContents(
  command: S3.ListObjectsV2Command,
  take: (contents: readonly ListedContent[]) => void,
): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const response = result.response as { statusCode: number; body: AsyncIterable<Uint8Array> };
      if (response.statusCode !== 200) return result;
      const { bytes, text } = await textOf(response.body);
      // What is not understood is for the SDK to judge.
      const contents: ListedContent[] = [];
      const rest = text?.replace(CONTENTS, (all) => read(all, contents));
      take(contents);
      response.body = Readable.from([rest === undefined ? bytes : Buffer.from(rest)]);
      return result;
    },
    { step: "deserialize", priority: "low", name: "framesealListedContents" },
  );
}

const CONTENTS = /<Contents>.*?<\/Contents>/gs;

async function textOf(
  body: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: Buffer; readonly text: string | undefined }> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_PAGE_LENGTH)
      throw new RangeError(`page of a listing has more than ${MAX_PAGE_LENGTH} bytes`);
  }
  const bytes = Buffer.concat(chunks, length);
  return { bytes, text: decodeUtf8(bytes) };
}

/** @returns what is left of it: nothing, if it was understood */
function read(xml: string, contents: ListedContent[]): string {
  const [Key, ETag, size] = ["Key", "ETag", "Size"].map((name) => elementOf(xml, name));
  const Size = size === undefined || !/^[0-9]{1,15}$/.test(size) ? undefined : Number(size);
  if (Key === undefined || Key === "" || ETag === undefined || Size === undefined) return xml;
  contents.push({ Key, ETag, Size });
  return "";
}

/** The text of an element; undefined if there is none, or more than plain text in it. */
function elementOf(xml: string, name: string): string | undefined {
  const start = xml.indexOf(`<${name}>`);
  if (start < 0) return undefined;
  const end = xml.indexOf("<", start + 1);
  if (!xml.startsWith(`</${name}>`, end)) return undefined;
  const text = xml.slice(start + name.length + 2, end);
  return text.includes("&") ? withoutEntities(text) : text;
}

const entities: Readonly<Record<string, string>> = { amp: "&", apos: "'", gt: ">", lt: "<", quot: '"' };

function withoutEntities(text: string): string | undefined {
  let isKnown = true;
  const plain = text.replace(/&([^;]{0,10});?/g, (_, name: string) => {
    const code = /^#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))$/i.exec(name);
    if (code !== null) {
      const point = code[1] === undefined ? Number(code[2]) : Number.parseInt(code[1], 16);
      if (point <= 0x10ffff) return String.fromCodePoint(point);
    }
    const known = Object.hasOwn(entities, name) ? entities[name] : undefined;
    isKnown &&= known !== undefined;
    return known ?? "";
  });
  return isKnown ? plain : undefined;
}
