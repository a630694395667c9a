// Gives an altered message to every way of decrypting, and says whether one of them was fooled.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createDecryptStream, decrypt, type Keyring, openMessage, verifyFile } from "../../src/index.ts";
import { MessageDecryptor } from "../../src/stream/message-decryptor.ts";
import { cut, engineNames, runStream, staticKeyring } from "../message/fixtures.ts";
import { type ReferenceMessage, type ReferenceOptions, writeMessage } from "../message/reference.ts";

/** One kind of message, small enough to alter in every place. */
export interface Family {
  readonly name: string;
  readonly message: ReferenceMessage;
  readonly plaintext: Buffer;
  readonly keyring: Keyring;
}

export function makeFamily(name: string, options: Omit<ReferenceOptions, "dataKey">): Family {
  const dataKey = Buffer.alloc(32, 0x5a);
  const keyLength = (({ suite }) => (suite === 0x0214 ? 16 : 32))(options);
  const message = writeMessage({ ...options, dataKey: dataKey.subarray(0, keyLength) });
  return { name, message, plaintext: Buffer.from(options.plaintext), keyring: staticKeyring(dataKey) };
}

/** Every suite family, framed, and bodies without frames as other implementations write them. */
export function families(): Family[] {
  const plaintext = Buffer.from(Array.from({ length: 37 }, (_, i) => (i * 31 + 7) & 0xff));
  const context = { a: "b", é: "" };
  const framed = { plaintext, frameLength: 16, context };
  return [
    makeFamily("0478", { ...framed, suite: 0x0478 }),
    makeFamily("0578", { ...framed, suite: 0x0578, context: {} }),
    makeFamily("0178", { ...framed, suite: 0x0178 }),
    makeFamily("0214", { ...framed, suite: 0x0214 }),
    makeFamily("0478 without frames", { ...framed, suite: 0x0478, frameLength: 0 }),
    makeFamily("0214 without frames", { ...framed, suite: 0x0214, frameLength: 0, context: {} }),
  ];
}

export interface Tally {
  tried: number;
  executions: number;
  /** Descriptions of what must not happen. */
  readonly wrong: string[];
}

export function newTally(): Tally {
  return { tried: 0, executions: 0, wrong: [] };
}

/** The ways a message is tried, each with those before it. */
export type Way = "machine" | "transform" | "files";

let madeFolder: string | undefined;
/** A folder of this process that is gone when it ends. */
function folder(): string {
  if (madeFolder === undefined) {
    const made = mkdtempSync(path.join(tmpdir(), "frameseal-tamper-"));
    process.on("exit", () => rmSync(made, { recursive: true, force: true }));
    madeFolder = made;
  }
  return madeFolder;
}

const READ_ALL = { commitmentPolicy: "FORBID_ENCRYPT_ALLOW_DECRYPT", engine: "node" } as const;

/** What became of a message: the code and text of the error, or that there was none. */
const outcomeOf = (error: unknown): string =>
  error instanceof Error ? `${"code" in error ? error.code : error.name}: ${error.message}` : String(error);

/**
 * Tries `altered` whole, streamed, from a file and by ranges. None may succeed, what the stream releases must be a
 * beginning of the plaintext, nothing but an Error of a known kind may be thrown, and all that read the message from its
 * start must say the same of it.
 * @param chunkLength of the stream
 * @param through `transform` goes through the Transform too, which is slower; `files` through that and through files,
 * by runs and by the pump of the native engine
 */
export async function tryAltered(
  family: Family,
  altered: Buffer,
  what: string,
  tally: Tally,
  { chunkLength = 64, through = "machine" }: { chunkLength?: number; through?: Way } = {},
): Promise<void> {
  const { plaintext, keyring, message } = family;
  const options = { keyring, ...READ_ALL };
  const wrong = (how: string): void => void tally.wrong.push(`${family.name}, ${what}: ${how}`);
  const said = new Map<string, string[]>();
  const checkError = (reader: string, error: unknown): void => {
    if (!(error instanceof Error) || error.name !== "FramesealError") wrong(`threw ${String(error)}`);
    const outcome = outcomeOf(error);
    said.set(outcome, [...(said.get(outcome) ?? []), reader]);
  };
  tally.tried += 1;

  tally.executions += 1;
  await decrypt(altered, options).then(
    () => wrong("decrypt accepted it"),
    (error: unknown) => checkError("decrypt", error),
  );

  tally.executions += 1;
  const released: Uint8Array[] = [];
  const machine = new MessageDecryptor(
    options,
    (bytes) => void released.push(Uint8Array.from(bytes)),
    () => {},
  );
  try {
    await machine.start();
    for (const chunk of cut(altered, chunkLength)) await machine.absorb([chunk]);
    await machine.finish();
    wrong("the stream accepted it");
  } catch (error) {
    checkError("the stream", error);
  }
  await machine.dispose();
  checkPrefix(Buffer.concat(released));

  if (through !== "machine") {
    tally.executions += 1;
    const log = await runStream(createDecryptStream(options), cut(altered, chunkLength));
    if (log.ended || log.error === undefined) wrong("the Transform ended");
    else checkError("the Transform", log.error);
    checkPrefix(log.output);
  }

  if (through === "files") {
    const file = path.join(folder(), "altered");
    writeFileSync(file, altered);
    for (const engine of engineNames)
      for (const concurrency of [1, 2]) {
        tally.executions += 1;
        await verifyFile(file, { ...options, engine, concurrency }).then(
          () => wrong(`a file was accepted on the ${engine} engine`),
          (error: unknown) => checkError(`files, ${engine}, ${concurrency}`, error),
        );
      }
  }
  if (said.size > 1) wrong(`readers disagree: ${JSON.stringify([...said])}`);

  if (message.suite.curve === undefined) {
    tally.executions += 1;
    try {
      const reader = await openMessage(altered, options);
      try {
        const got = await reader.read(0, reader.plaintextLength);
        wrong(got.equals(plaintext) ? "ranges accepted it" : "ranges gave wrong bytes");
      } finally {
        await reader.close();
      }
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "FramesealError") wrong(`threw ${String(error)}`);
    }
  }

  function checkPrefix(output: Buffer): void {
    if (output.equals(plaintext.subarray(0, output.length))) {
      // Behind a signature that verified, all of the plaintext is out before a later chunk shows trailing bytes.
      const verified = altered.subarray(0, message.bytes.length).equals(message.bytes);
      if (message.suite.curve !== undefined && !verified && output.length >= plaintext.length)
        wrong("the final frame came out before the signature");
      return;
    }
    wrong("released bytes that are not of the plaintext");
  }
}

/** Prints one line for the record. */
export function report(name: string, tally: Tally, start: number): void {
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${name}: ${tally.tried} altered messages, ${tally.executions} executions, ` +
      `${tally.wrong.length} accepted or wrong, ${seconds} s`,
  );
}

/** A header field as it lies in a message. */
export interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** Where counts and lengths lie in a message that the reference wrote. */
export function lengthFields(message: ReferenceMessage): Field[] {
  const { bytes, suite, header } = message;
  const fields: Field[] = [];
  let at = 0;
  const field = (name: string, size: number): number => {
    fields.push({ name, offset: at, size });
    at += size;
    return bytes.readUIntBE(at - size, size);
  };
  const skip = (length: number): void => {
    at += length;
  };
  at += suite.version === 1 ? 4 + 16 : 3 + 32;
  const contextLength = field("context length", 2);
  if (contextLength > 0)
    for (let count = field("pair count", 2); count > 0; count--) {
      skip(field("key length", 2));
      skip(field("value length", 2));
    }
  for (let count = field("data key count", 2); count > 0; count--)
    for (const name of ["provider id length", "provider info length", "wrapped key length"])
      skip(field(name, 2));
  at += 1;
  if (suite.version === 1) {
    field("reserved", 4);
    field("nonce length", 1);
  }
  field("frame length", 4);
  at = header.length;
  const last = message.frames.at(-1);
  if (message.frames.length > 1 && last !== undefined) {
    for (const frame of message.frames.slice(0, -1)) {
      field("sequence number", 4);
      at += frame.length - 4;
    }
    field("marker", 4);
    field("final sequence number", 4);
    at += 12;
    field("final length", 4);
    at += last.length - 24;
  } else {
    at += 12;
    field("body length, high", 4);
    field("body length, low", 4);
    at = bytes.length - message.footer.length;
  }
  if (message.footer.length > 0) field("signature length", 2);
  return fields;
}
