// Trials of whole programs: our command line beside cp, openssl, age, rclone, gpg and restic.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findPackage } from "./packages.ts";
import type { ProgramSubject, ProgramTrial } from "./run-programs.ts";
import { lengthText } from "./trials.ts";
import type { WorkFiles } from "./work-files.ts";

const GiB = 2 ** 30;

/** Words of a shell command, quoted. */
const quote = (...words: readonly string[]): string =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");

const main = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const frameseal = (...args: readonly string[]): string => quote(process.execPath, main, ...args);

const program = (
  name: string,
  needs: readonly string[],
  command: () => string,
  more: Partial<ProgramSubject> = {},
): ProgramSubject => ({ name, kind: "program", needs, command, ...more });

const ourCommand = (command: () => string, more: Partial<ProgramSubject> = {}): ProgramSubject =>
  program("frameseal", [], command, { kind: "frameseal", ...more });

/** All trials of programs, and whether they are only in the full set. */
export function listProgramTrials(
  files: WorkFiles,
  full: boolean,
): readonly { readonly trial: ProgramTrial; readonly full: boolean }[] {
  const size = full ? 4 * GiB : GiB;
  const input = (): string => quote(files.plain(size));
  const encrypt = (...args: readonly string[]): string =>
    frameseal("encrypt", "--no-progress", "-k", files.key(), ...args);
  const decrypt = (): string => frameseal("decrypt", "--no-progress", "-k", files.key());
  const out = (name: string): string => files.path(name);
  const fresh = (name: string): Partial<ProgramSubject> => ({
    before: () => rmSync(out(name), { force: true }),
  });
  const age = agePeer(files);
  const common = { group: "files", operation: "seal", unit: "bytes", size, unitsPerRun: size } as const;
  return [
    {
      full: false,
      trial: {
        ...common,
        id: "files/copy",
        title: `A file of ${lengthText(size)} in the page cache to a new file, not synced`,
        reference: "cp",
        subjects: [
          ourCommand(
            () => `${encrypt("--no-sync", files.plain(size), "-o", out("sealed"))}`,
            fresh("sealed"),
          ),
          program("cp", ["cp"], () => `cp ${input()} ${quote(out("copy"))}`, fresh("copy")),
        ],
      },
    },
    {
      full: true,
      trial: {
        ...common,
        id: "files/copy-sync",
        title: `The same, on disk before it ends`,
        reference: "cp && sync",
        subjects: [
          ourCommand(() => encrypt(files.plain(size), "-o", out("sealed")), fresh("sealed")),
          program(
            "cp && sync",
            ["cp"],
            () => `cp ${input()} ${quote(out("copy"))} && sync ${quote(out("copy"))}`,
            fresh("copy"),
          ),
        ],
      },
    },
    {
      full: false,
      trial: {
        ...common,
        id: "files/null",
        title: `A file of ${lengthText(size)} in the page cache, sealed to /dev/null`,
        reference: "age",
        subjects: [
          ourCommand(() => `${encrypt(files.plain(size))} > /dev/null`),
          program("age", ["age", "age-keygen"], () => `age -r ${age()} ${input()} > /dev/null`),
          program(
            "openssl enc -aes-256-ctr (no authentication)",
            ["openssl"],
            () =>
              `openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass file:${quote(files.key())} -in ${input()} -out /dev/null`,
          ),
          program("rclone crypt", ["rclone"], () => `rclone rcat crypt:bench < ${input()}`, {
            environment: {
              RCLONE_CONFIG: "/dev/null",
              RCLONE_CONFIG_CRYPT_TYPE: "crypt",
              RCLONE_CONFIG_CRYPT_REMOTE: out("rclone"),
              // The public example of an obscured password.
              RCLONE_CONFIG_CRYPT_PASSWORD: "EBmZM6sFP4Z0eAaKZhKRmwLmNmzEj4s",
            },
          }),
          program(
            "gpg --symmetric",
            ["gpg"],
            () =>
              `gpg --homedir ${quote(out("gpg"))} --batch --yes --pinentry-mode loopback --passphrase-file ${quote(files.key())} --cipher-algo AES256 --compress-algo none -o /dev/null --symmetric ${input()} 2> /dev/null`,
            { before: () => makeFolder(out("gpg")) },
          ),
        ],
      },
    },
    {
      full: false,
      trial: {
        ...common,
        group: "pipes",
        id: "pipes/there-and-back",
        title: `cat of ${lengthText(size)} | encrypt | decrypt > /dev/null`,
        reference: "age",
        operation: "seal and open",
        subjects: [
          ourCommand(() => `cat ${input()} | ${encrypt()} | ${decrypt()} > /dev/null`),
          program(
            "age",
            ["age", "age-keygen"],
            () => `cat ${input()} | age -r ${age()} | age -d -i ${quote(out("age.key"))} > /dev/null`,
          ),
          program("cat | cat | cat", ["cat"], () => `cat ${input()} | cat | cat > /dev/null`),
        ],
      },
    },
    {
      full: false,
      trial: {
        id: "starts/encrypt",
        group: "starts",
        title: "frameseal encrypt of 1 KiB, start included",
        operation: "seal",
        unit: "starts",
        size: 1024,
        unitsPerRun: 1,
        rounds: 15,
        reference: "node -e 0",
        subjects: [
          ourCommand(() => `${encrypt("--no-sync", files.plain(1024), "-f", "-o", out("small"))}`),
          program("node -e 0", [], () => `${quote(process.execPath)} -e 0`),
        ],
      },
    },
    {
      full: false,
      trial: {
        id: "starts/import",
        group: "starts",
        title: "A process that imports the library and ends",
        operation: "import",
        unit: "starts",
        unitsPerRun: 1,
        rounds: 15,
        reference: "node -e 0",
        subjects: [
          program("frameseal", [], () => importing(fileURLToPath(new URL("../index.js", import.meta.url))), {
            kind: "frameseal",
          }),
          program("@aws-crypto/client-node", [], () => {
            const peer = findPackage("@aws-crypto/client-node");
            if (peer === undefined) throw new Error("the package @aws-crypto/client-node is not installed");
            return `${quote(process.execPath, "-e", `require(${JSON.stringify(peer)})`)}`;
          }),
          program("node -e 0", [], () => `${quote(process.execPath)} -e 0`),
        ],
      },
    },
  ];
}

const importing = (file: string): string =>
  quote(process.execPath, "--input-type=module", "-e", `import ${JSON.stringify(pathToFileURL(file).href)}`);

function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
}

// Makes an age identity once; returns its recipient.
function agePeer(files: WorkFiles): () => string {
  let recipient: string | undefined;
  return () => {
    if (recipient === undefined) {
      const identity = files.path("age.key");
      execFileSync("age-keygen", ["-o", identity], { stdio: "ignore" });
      recipient = execFileSync("age-keygen", ["-y", identity], { encoding: "utf8" }).trim();
    }
    return recipient;
  };
}
