// Whole programs on files and pipes: our command line beside cp, cat, openssl, age, gpg, rclone and restic.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import process from "node:process";
import type { ProgramSubject, ProgramTrial } from "../run-programs.ts";
import type { WorkFiles } from "../work-files.ts";
import { frameseal, keyArguments, ourCommand, program, quote } from "./commands.ts";
import { GiB, idOf, type Listed, lengthText } from "./subjects.ts";

export function* listFileTrials(files: WorkFiles): Generator<Listed<ProgramTrial>> {
  const peers = new Peers(files);
  for (const size of [GiB, 4 * GiB]) {
    const more = { full: size > GiB, rounds: 3 };
    yield trial("files", "copy", size, more, {
      title: `A file of ${lengthText(size)} in the page cache to a new file, not synced`,
      reference: "cp",
      subjects: peers.copying(size, false),
    });
    yield trial(
      "files",
      "copy-sync",
      size,
      { ...more, full: true },
      {
        title: `A file of ${lengthText(size)} in the page cache to a new file, on disk before it ends`,
        reference: "cp && sync",
        subjects: peers.copying(size, true),
      },
    );
    yield trial("files", "null", size, more, {
      title: `A file of ${lengthText(size)} in the page cache, sealed to /dev/null`,
      reference: "age",
      subjects: peers.toNull(size),
    });
    yield trial("pipes", "there-and-back", size, more, {
      title: `cat of ${lengthText(size)} | encrypt | decrypt > /dev/null`,
      reference: "age",
      operation: "seal and open",
      subjects: peers.piped(size),
    });
  }
  yield trial(
    "files",
    "store",
    GiB,
    { full: true, rounds: 3 },
    {
      title: `A file of ${lengthText(GiB)} in the page cache to encrypted files on disk, not synced by us`,
      reference: "rclone crypt",
      subjects: peers.storing(GiB),
    },
  );
}

function trial(
  group: string,
  name: string,
  size: number,
  { full, rounds }: { readonly full: boolean; readonly rounds: number },
  parts: Pick<ProgramTrial, "title" | "reference" | "subjects"> & Partial<ProgramTrial>,
): Listed<ProgramTrial> {
  const common = { group, operation: "seal", unit: "bytes", size, unitsPerRun: size } as const;
  return {
    full,
    trial: { id: idOf(group, name, size), ...common, rounds, ...parts },
  };
}

/** The programs by what they are to do. */
class Peers {
  readonly #files: WorkFiles;
  #ageRecipient: string | undefined;

  constructor(files: WorkFiles) {
    this.#files = files;
  }

  copying(size: number, isSynced: boolean): readonly ProgramSubject[] {
    const sync = isSynced ? [] : ["--no-sync"];
    const copy = this.#out("copy");
    const name = isSynced ? "cp && sync" : "cp";
    return [
      ourCommand(
        () => this.#encrypt(...sync, this.#files.plain(size), "-o", this.#out("sealed")),
        this.#fresh("sealed"),
      ),
      program(
        name,
        ["cp"],
        () => `cp ${this.#input(size)} ${quote(copy)}${isSynced ? ` && sync ${quote(copy)}` : ""}`,
        this.#fresh("copy"),
      ),
    ];
  }

  toNull(size: number): readonly ProgramSubject[] {
    const input = (): string => this.#input(size);
    const password = (): string => quote(this.#files.key());
    return [
      ourCommand(() => `${this.#encrypt(this.#files.plain(size))} > /dev/null`),
      program("age", ["age", "age-keygen"], () => `age -r ${this.#age()} ${input()} > /dev/null`),
      program(
        "openssl enc -aes-256-ctr (no authentication)",
        ["openssl"],
        () =>
          `openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass file:${password()} -in ${input()} -out /dev/null`,
      ),
      program(
        "gpg --symmetric",
        ["gpg"],
        () =>
          `gpg --homedir ${quote(this.#out("gpg"))} --batch --yes --pinentry-mode loopback --passphrase-file ${password()} --cipher-algo AES256 --compress-algo none -o /dev/null --symmetric ${input()} 2> /dev/null`,
        { before: () => makeFolder(this.#out("gpg")) },
      ),
      program("cat", ["cat"], () => `cat ${input()} > /dev/null`),
    ];
  }

  /** Programs that keep files of their own format on disk. */
  storing(size: number): readonly ProgramSubject[] {
    const repository = this.#out("restic");
    const folder = this.#out("rclone");
    const input = (): string => this.#input(size);
    return [
      ourCommand(
        () => this.#encrypt("--no-sync", this.#files.plain(size), "-o", this.#out("sealed")),
        this.#fresh("sealed"),
      ),
      program("rclone crypt", ["rclone"], () => `rclone rcat crypt:bench < ${input()}`, {
        environment: rcloneCrypt(folder),
        before: () => rmSync(folder, { recursive: true, force: true }),
      }),
      // Looks for chunks that it has already, too; compression is off.
      program(
        "restic backup",
        ["restic"],
        () => `restic backup --quiet --compression off --stdin --stdin-filename bench < ${input()}`,
        {
          environment: this.#restic(),
          before: () => {
            rmSync(repository, { recursive: true, force: true });
            execFileSync("restic", ["init", "--quiet"], { env: { ...process.env, ...this.#restic() } });
          },
        },
      ),
    ];
  }

  piped(size: number): readonly ProgramSubject[] {
    const cat = (): string => `cat ${this.#input(size)}`;
    const decrypt = (): string => frameseal("decrypt", ...keyArguments(this.#files));
    return [
      ourCommand(() => `${cat()} | ${this.#encrypt()} | ${decrypt()} > /dev/null`),
      program(
        "age",
        ["age", "age-keygen"],
        () => `${cat()} | age -r ${this.#age()} | age -d -i ${quote(this.#out("age.key"))} > /dev/null`,
      ),
      program("cat | cat | cat", ["cat"], () => `${cat()} | cat | cat > /dev/null`),
    ];
  }

  #out(name: string): string {
    return this.#files.path(name);
  }
  #input(size: number): string {
    return quote(this.#files.plain(size));
  }
  #encrypt(...args: readonly string[]): string {
    return frameseal("encrypt", ...keyArguments(this.#files), ...args);
  }
  #fresh(name: string): Partial<ProgramSubject> {
    return { before: () => rmSync(this.#out(name), { force: true }) };
  }
  #restic(): Record<string, string> {
    return {
      RESTIC_REPOSITORY: this.#out("restic"),
      RESTIC_PASSWORD_FILE: this.#files.key(),
      RESTIC_CACHE_DIR: this.#out("restic-cache"),
    };
  }
  // Makes an age identity once; returns its recipient.
  #age(): string {
    if (this.#ageRecipient === undefined) {
      const identity = this.#out("age.key");
      execFileSync("age-keygen", ["-o", identity], { stdio: "ignore" });
      this.#ageRecipient = execFileSync("age-keygen", ["-y", identity], { encoding: "utf8" }).trim();
    }
    return this.#ageRecipient;
  }
}

function rcloneCrypt(remote: string): Record<string, string> {
  return {
    RCLONE_CONFIG: "/dev/null",
    RCLONE_CONFIG_CRYPT_TYPE: "crypt",
    RCLONE_CONFIG_CRYPT_REMOTE: remote,
    // The public example of an obscured password.
    RCLONE_CONFIG_CRYPT_PASSWORD: "EBmZM6sFP4Z0eAaKZhKRmwLmNmzEj4s",
  };
}

function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}
