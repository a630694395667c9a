// Names that are hidden from whoever sees the bucket: each is sealed by AES-SIV under a key of its own, so that one path
// always has one key, and a name that was altered or moved is noticed. The format is docs/NAMES.md.
import { asBuffer, decodeUtf8, wipe } from "../../bytes.ts";
import { FramesealError } from "../../errors.ts";
import { hkdf } from "../../hkdf.ts";
import type { EntryType } from "../entry.ts";
import { AesSiv, SIV_KEY_LENGTH } from "./aes-siv.ts";
import type { KeyNames } from "./key-names.ts";
import { pathText } from "./plain-names.ts";

/** `tree` seals each component on its own and keeps the folders; `flat` seals the whole path. */
export type NameMode = "tree" | "flat";
/** Bytes of the key that names are encrypted with. */
const NAMES_KEY_LENGTH = 32;

/**
 * Names under a key.
 * @param key 32 bytes, copied; the caller wipes it
 */
export function createKeyNames(mode: NameMode, key: Uint8Array): KeyNames {
  if (key.length !== NAMES_KEY_LENGTH)
    throw new RangeError(`"key" expected ${NAMES_KEY_LENGTH} bytes, got ${key.length}`);
  const info = Buffer.from(`frameseal/names/1/${mode}`);
  const derived = hkdf("sha512", key, new Uint8Array(0), [info], SIV_KEY_LENGTH);
  try {
    const siv = new AesSiv(derived);
    return mode === "tree" ? new TreeNames(siv) : new FlatNames(siv);
  } finally {
    wipe(derived);
  }
}

/** The whole path is one name; that of a directory has its slash. */
class FlatNames implements KeyNames {
  readonly #siv: AesSiv;

  constructor(siv: AesSiv) {
    this.#siv = siv;
  }

  keyOf(path: string, type: EntryType): string {
    return sealName(this.#siv, pathText(path, type), "");
  }

  entryOf(key: string): Entry {
    return key === "" ? ROOT : entryFrom(openName(this.#siv, key, ""));
  }
}

/**
 * Each component is a name, bound to the folder it is in; what is a folder is sealed with its slash, and has another one
 * behind it.
 */
class TreeNames implements KeyNames {
  readonly #siv: AesSiv;
  readonly #keys = new RecentFolders();
  readonly #paths = new RecentFolders();

  constructor(siv: AesSiv) {
    this.#siv = siv;
  }

  keyOf(path: string, type: EntryType): string {
    const text = pathText(path, type);
    const isDirectory = type === "directory";
    const sealOne = (name: string, folder: string): string => sealName(this.#siv, name, folder);
    const [folder, name] = cut(text, isDirectory);
    const key = this.#keys.translate(folder, (part, above) => `${sealOne(part, above.from)}/`);
    return `${key}${sealOne(name, folder)}${isDirectory ? "/" : ""}`;
  }

  entryOf(key: string): Entry {
    const isDirectory = key.endsWith("/");
    const openOne = (name: string, folder: string, isFolder: boolean): string => {
      const part = openName(this.#siv, isFolder ? name.slice(0, -1) : name, folder);
      // A slash is at the end of what names a folder, and nowhere else.
      if (part.slice(0, -1).includes("/") || part.endsWith("/") !== isFolder) throw notSealed();
      return part;
    };
    if (key === "") return ROOT;
    const [folderKey, name] = cut(key, isDirectory);
    const folder = this.#paths.translate(folderKey, (part, above) => openOne(part, above.to, true));
    return entryFrom(`${folder}${openOne(name, folder, isDirectory)}`);
  }
}

/** A path or key of a folder, and its last component; that of a directory has its slash. */
function cut(text: string, isDirectory: boolean): readonly [folder: string, name: string] {
  const at = text.lastIndexOf("/", isDirectory ? text.length - 2 : text.length) + 1;
  return [text.slice(0, at), text.slice(at)];
}

/** Folders that were translated last: a walk, and a listing, come to the same ones again and again. */
class RecentFolders {
  readonly #known = new Map<string, string>();

  /**
   * What stands for `folder`, which is empty or ends with a slash.
   * @param translateOne for a component with its slash, in a folder that is told in both forms
   */
  translate(
    folder: string,
    translateOne: (part: string, above: { readonly from: string; readonly to: string }) => string,
  ): string {
    let to = this.#known.get(folder);
    if (to !== undefined) return to;
    to = "";
    // Without recursion: keys and paths may be deep.
    for (let start = 0; start < folder.length; ) {
      const end = folder.indexOf("/", start) + 1;
      const known: string | undefined = this.#known.get(folder.slice(0, end));
      to = known ?? to + translateOne(folder.slice(start, end), { from: folder.slice(0, start), to });
      if (known === undefined) this.#remember(folder.slice(0, end), to);
      start = end;
    }
    return to;
  }

  #remember(from: string, to: string): void {
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_RECENT_FOLDERS && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(from, to);
  }
}
const MAX_RECENT_FOLDERS = 256;

type Entry = ReturnType<KeyNames["entryOf"]>;
/** The key of the prefix itself. */
const ROOT: Entry = { path: "", isDirectory: true };

function entryFrom(text: string): Entry {
  const isDirectory = text.endsWith("/");
  return { path: isDirectory ? text.slice(0, -1) : text, isDirectory };
}

function sealName(siv: AesSiv, name: string, folder: string): string {
  return asBuffer(siv.seal(Buffer.from(name), [Buffer.from(folder)])).toString("base64url");
}

function openName(siv: AesSiv, sealed: string, folder: string): string {
  const bytes = Buffer.from(sealed, "base64url");
  // Another text that decodes to the same bytes is not what was written.
  const plain = bytes.toString("base64url") === sealed ? siv.open(bytes, [Buffer.from(folder)]) : undefined;
  const name = plain === undefined ? undefined : decodeUtf8(plain);
  if (name === undefined || name === "") throw notSealed();
  return name;
}

/** The error for every key that is none of ours: one text. */
function notSealed(): FramesealError {
  return new FramesealError(
    "AUTHENTICATION_FAILED",
    "name is not authentic: it was altered or moved, or is under another key",
  );
}
