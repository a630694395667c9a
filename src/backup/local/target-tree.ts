// Makes things below a folder, and only there: no part of a path is followed if it is a link, and no file has its final
// name before it is complete.
import { randomBytes } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { lchown, lutimes, mkdir, readlink, realpath, rename, rmdir, symlink, unlink } from "node:fs/promises";
import path from "node:path";
import { descriptors, fileError } from "../../disk/calls.ts";
import { existsAlready } from "../../disk/new-file.ts";
import { FramesealError } from "../../errors.ts";
import { errorCode } from "../../shapes.ts";
import type { EntryType } from "../entry.ts";
import { insideOf, openFolder, underName } from "./anchored.ts";
import { FileCalls } from "./file-calls.ts";
import { type Folding, NameCollisions, probeFolding } from "./folding.ts";
import { faultOfTarget } from "./link-target.ts";
import { type OpenFolder, OpenFolders } from "./open-folders.ts";
import { type FileChoice, PartialFile } from "./partial-file.ts";
import { partialNameOf } from "./partial-name.ts";
import { type RestoredAttributes, secondsOf, setAttributes } from "./restored-attributes.ts";

/** How a tree is restored. */
export interface TargetOptions extends FileChoice {
  /** `inside`, the default, refuses symbolic links that lead out of the tree. */
  readonly linkTargets?: "inside" | "anywhere" | undefined;
  /** `never`: only looks, for a dry run. By default the folder is made at once. */
  readonly make?: "now" | "never" | undefined;
}

/** Something that is there. */
export interface Existing {
  readonly type: EntryType | "other";
  readonly stats: BigIntStats;
  /** Of a link, what it says. */
  readonly target: Buffer | undefined;
}

/** A folder that a tree is restored to. */
export class TargetTree {
  /** Absolute and without links. */
  readonly root: string;
  readonly #options: TargetOptions;
  readonly #collisions: NameCollisions;
  readonly #calls = new FileCalls();
  readonly #folders = new OpenFolders();

  private constructor(root: string, options: TargetOptions, folding: Folding) {
    this.root = root;
    this.#options = options;
    this.#collisions = new NameCollisions(folding);
  }

  /**
   * @param root made if it is missing; of a link, what it leads to
   * @throws Error with the system's code
   */
  static async open(root: string, options: TargetOptions = {}): Promise<TargetTree> {
    if (options.make === "never") {
      const found = await realpath(root).catch((error) => {
        if (errorCode(error) !== "ENOENT") throw error;
      });
      if (found !== undefined) await openFolder(found).then(descriptors.close);
      // What a file system folds shows only when something is made there.
      return new TargetTree(found ?? path.resolve(root), options, {
        letterCase: false,
        normalization: false,
      });
    }
    await mkdir(root, { recursive: true });
    const real = await realpath(root);
    await openFolder(real).then(descriptors.close); // says what it is, if it is no folder
    return new TargetTree(real, options, await probeFolding(real));
  }

  /** Where a path of the tree is. */
  absoluteOf(inTree: string): string {
    return inTree === "" ? this.root : path.join(this.root, ...inTree.split("/"));
  }

  /**
   * Takes a path for this restore, before anything is made there.
   * @throws FramesealError UNSUPPORTED if the file system takes it for another one that was taken before
   */
  claim(inTree: string): void {
    const first = this.#collisions.claim(inTree);
    if (first !== undefined)
      throw new FramesealError(
        "UNSUPPORTED",
        `here its name is the same as that of ${JSON.stringify(first)}`,
      );
  }

  /**
   * What is there, if anything.
   * @throws Error with the system's code: ELOOP or ENOTDIR if a part of the path is a link or a file
   */
  async look(inTree: string): Promise<Existing | undefined> {
    return this.#inParent(inTree, "look", async (at) => {
      const stats = await this.#calls.look(at);
      if (stats === undefined) return undefined;
      const target = stats.isSymbolicLink() ? await readlink(at, { encoding: "buffer" }) : undefined;
      return { type: typeOf(stats), stats, target };
    }).catch((error) => {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    });
  }

  /**
   * Begins a file, or goes on with one.
   * @param resumeFrom see PartialFile.open
   */
  async openPartial(inTree: string, resumeFrom?: number | undefined): Promise<PartialFile> {
    const parent = await this.#openParent(inTree, "make");
    return PartialFile.open(this.#calls, parent, nameOf(inTree), this.#options, resumeFrom);
  }

  /** Removes what an interrupted run left of a file, unless somebody works on it. */
  async removePartial(inTree: string): Promise<void> {
    const partial = path.posix.join(path.posix.dirname(inTree), partialNameOf(nameOf(inTree)));
    if ((await this.look(partial))?.type !== "file") return;
    const parent = await this.#openParent(inTree, "look");
    const file = await PartialFile.open(
      this.#calls,
      parent,
      nameOf(inTree),
      { ...this.#options, overwrite: "replace" },
      0,
    );
    await file.discard();
  }

  /** Makes a directory, and gives it its attributes; one that is there keeps its own unless things are replaced. */
  async makeDirectory(inTree: string, attributes: RestoredAttributes): Promise<"made" | "there"> {
    const parent = await this.#openParent(inTree, "make");
    const absolute = this.absoluteOf(inTree);
    try {
      const at = `${insideOf(parent.descriptor, parent.absolute)}/${nameOf(inTree)}`;
      const made = await this.#makeFolder(at, absolute);
      const descriptor = await openFolder(absolute);
      try {
        if (made === "made" || this.#options.overwrite === "replace")
          await setAttributes(this.#calls, descriptor, attributes, this.#options);
      } finally {
        await descriptors.close(descriptor);
      }
      return made;
    } catch (error) {
      throw underName(error, absolute);
    } finally {
      parent.release();
    }
  }

  /**
   * Makes a symbolic link.
   * @throws FramesealError POLICY for one that leads out of the tree, unless that is allowed
   */
  async makeLink(
    inTree: string,
    target: Uint8Array,
    attributes: RestoredAttributes,
  ): Promise<"made" | "there"> {
    const fault = faultOfTarget(inTree, target);
    if (fault === "not-a-target")
      throw new FramesealError("UNSUPPORTED", "no symbolic link can say what this one says");
    if (fault === "leads-out" && this.#options.linkTargets !== "anywhere")
      throw new FramesealError("POLICY", "this symbolic link leads out of the tree, or may do so");
    const existing = await this.look(inTree);
    if (existing?.target?.equals(target) === true) return "there";
    if (existing !== undefined && this.#options.overwrite !== "replace")
      throw existsAlready(this.absoluteOf(inTree), "symlink");
    return this.#inParent(inTree, "make", async (at, folder) => {
      if (existing?.type === "directory")
        throw fileError(
          "EISDIR",
          "symlink",
          this.absoluteOf(inTree),
          "is a folder, and is not replaced by a link",
        );
      const temporary = `${folder}/${partialNameOf(`${randomBytes(6).toString("hex")}.link`)}`;
      // The name is given last, with everything else in place; where nothing may be replaced, at once.
      const made = this.#options.overwrite === "replace" ? temporary : at;
      await symlink(Buffer.from(target), made);
      try {
        await this.#setLinkAttributes(made, attributes);
        if (made !== at) await rename(made, at);
      } catch (error) {
        await unlink(made).catch(() => {});
        throw error;
      }
      return "made" as const;
    });
  }

  async #setLinkAttributes(at: string, { mtimeNs, uid, gid }: RestoredAttributes): Promise<void> {
    const { owner, times } = this.#options;
    if (owner === "restore" && uid !== undefined && gid !== undefined) await lchown(at, uid, gid);
    if (times !== "leave" && mtimeNs !== undefined)
      await lutimes(at, secondsOf(mtimeNs), secondsOf(mtimeNs)).catch((error) => {
        if (errorCode(error) !== "ENOSYS" && errorCode(error) !== "ENOTSUP") throw error;
      });
  }

  /** Removes a file or link, or a directory that is empty. What is gone already is as good. */
  async remove(inTree: string, type: EntryType): Promise<void> {
    await this.#inParent(inTree, "look", (at) => (type === "directory" ? rmdir(at) : unlink(at))).catch(
      (error) => {
        if (errorCode(error) !== "ENOENT") throw error;
      },
    );
  }

  /**
   * Removes the directories that something was removed from, as far as they are empty.
   * @param isWanted those that stay all the same
   */
  async removeEmptyParents(inTree: string, isWanted: (inTree: string) => boolean): Promise<void> {
    for (let folder = path.posix.dirname(inTree); folder !== "."; folder = path.posix.dirname(folder)) {
      if (isWanted(folder)) return;
      try {
        await this.remove(folder, "directory");
      } catch (error) {
        if (NOT_EMPTY.includes(errorCode(error) ?? "")) return;
        throw error;
      }
    }
  }

  async #inParent<Result>(
    inTree: string,
    purpose: "look" | "make",
    work: (at: string, folder: string) => Promise<Result>,
  ): Promise<Result> {
    const parent = await this.#openParent(inTree, purpose);
    try {
      const folder = insideOf(parent.descriptor, parent.absolute);
      return await work(`${folder}/${nameOf(inTree)}`, folder);
    } catch (error) {
      throw underName(error, this.absoluteOf(inTree));
    } finally {
      parent.release();
    }
  }

  async #openParent(inTree: string, purpose: "look" | "make"): Promise<OpenFolder> {
    const folder = path.posix.dirname(inTree);
    const absolute = this.absoluteOf(folder === "." ? "" : folder);
    try {
      return await this.#folders.open(absolute);
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || purpose === "look" || folder === ".") throw error;
    }
    return this.#makeFolders(folder.split("/"));
  }

  /** Opens a folder, and makes what of it is missing, name by name. */
  async #makeFolders(names: readonly string[]): Promise<OpenFolder> {
    let folder = await this.#folders.open(this.root);
    for (const name of names) {
      const at = `${insideOf(folder.descriptor, folder.absolute)}/${name}`;
      const absolute = path.join(folder.absolute, name);
      try {
        await this.#makeFolder(at, absolute);
      } finally {
        folder.release();
      }
      folder = await this.#folders.open(absolute);
    }
    return folder;
  }

  async #makeFolder(at: string, absolute: string): Promise<"made" | "there"> {
    try {
      await this.#calls.makeFolder(at);
      return "made";
    } catch (error) {
      if (errorCode(error) === "EEXIST") return "there";
      throw underName(error, absolute);
    }
  }

  /** Closes the folders that are kept open. Files that are on their way are not concerned. */
  close(): void {
    this.#folders.close();
  }
}

/** What removing a directory gives that has something in it, or that is none. */
const NOT_EMPTY = ["ENOTEMPTY", "EEXIST", "ENOTDIR", "EBUSY", "EPERM", "EACCES"];

function typeOf(stats: BigIntStats): Existing["type"] {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  return stats.isSymbolicLink() ? "symlink" : "other";
}

function nameOf(inTree: string): string {
  return path.posix.basename(inTree);
}
