// Files for trials, in a folder of their own that is removed at the end, and a store of objects that ends with it.
import type { ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { encryptFile } from "#frameseal/file/file.js";
import { benchKey, benchKeyName, benchKeyring } from "./adaptors/ours.ts";
import { endProcess, startProcess } from "./processes.ts";
import { benchBytes } from "./workloads/source.ts";

const storeProgram = fileURLToPath(new URL("./store.js", import.meta.url));

/** Makes files when they are first asked for. */
export class WorkFiles {
  #folder: string | undefined;
  #store: ChildProcess | undefined;

  /** A path in the folder; nothing is there yet. */
  path(name: string): string {
    if (this.#folder === undefined) {
      this.#folder = mkdtempSync(path.join(tmpdir(), "frameseal-bench-"));
      process.once("exit", () => this.remove());
    }
    return path.join(this.#folder, name);
  }

  /** A file of `size` bytes that do not compress. */
  plain(size: number): string {
    const file = this.path(`plain-${size}`);
    if (existsSync(file) && statSync(file).size === size) return file;
    const block = benchBytes(Math.min(size, 4 * 1024 * 1024));
    const descriptor = openSync(file, "w");
    for (let at = 0; at < size; at += block.length)
      writeSync(descriptor, block, 0, Math.min(block.length, size - at));
    closeSync(descriptor);
    return file;
  }

  /** The same as a message in frames of 64 KiB. */
  async sealed(size: number): Promise<string> {
    const file = this.path(`sealed-${size}`);
    if (!existsSync(file))
      await encryptFile(this.plain(size), file, { keyring: benchKeyring, frameLength: 65_536 });
    return file;
  }

  /** The same at an address. */
  async served(size: number): Promise<string> {
    const address = `${await this.store()}/ranges/sealed-${size}`;
    const response = await fetch(address, { method: "PUT", body: readFileSync(await this.sealed(size)) });
    if (!response.ok) throw new Error(`the store of the bench answered ${response.status}`);
    return address;
  }

  /** The address of a new, empty store; the one before ends. */
  async store(): Promise<string> {
    this.#endStore();
    const child = startProcess(process.execPath, [storeProgram], { stdio: ["pipe", "pipe", "inherit"] });
    this.#store = child;
    if (child.stdout === null) throw new Error("internal error: no pipe");
    const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    if (typeof value !== "string") throw new Error("the store of the bench does not start");
    return value;
  }

  /** A key file as `frameseal keygen` makes them, of a key that protects nothing. */
  key(): string {
    const file = this.path("key.jwk");
    const jwk = { kty: "oct", k: Buffer.from(benchKey).toString("base64url"), kid: benchKeyName };
    if (!existsSync(file)) writeFileSync(file, JSON.stringify(jwk), { mode: 0o600 });
    return file;
  }

  /** An RSA key of 3072 bits as PEM, made afresh. */
  rsaKey(): string {
    const file = this.path("rsa.pem");
    if (!existsSync(file)) {
      const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 3072 });
      writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    }
    return file;
  }

  /** Removes the folder and ends the store. */
  remove(): void {
    this.#endStore();
    // Processes that were told to end may still be writing there.
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
    this.#folder = undefined;
  }

  #endStore(): void {
    if (this.#store !== undefined) endProcess(this.#store);
    this.#store = undefined;
  }
}
