// `frameseal/testing`: checks that an implementation of `Keyring`, or of `MultipartStateStore`, keeps its promises. Runs
// in any test runner, or none.
import { inspect } from "node:util";
import { type Checks, callback, checkOptions, needed, oneOf } from "./check-options.ts";
import type { EncryptedDataKey } from "./format/encrypted-data-key.ts";
import type { EncryptionContext } from "./format/encryption-context.ts";
import { MAX_UINT16 } from "./format/limits.ts";
import { type AlgorithmSuite, suiteById } from "./format/suite.ts";
import type { DataKeyRequest, GeneratedDataKey, Keyring } from "./keyring/keyring.ts";
import type { SkippedKeys } from "./keyring/skipped-keys.ts";
import { isAllZeros } from "./keyring/take-data-key.ts";
import { shorten } from "./quote.ts";
import { bytesLength, isBytes, isError, isShared } from "./shapes.ts";
import { decrypt, encrypt } from "./stream/whole-message.ts";

export { checkMultipartStateStore } from "./s3/requests/check-state-store.ts";

/** The keyring to check. */
export interface KeyringSubject {
  /** Makes a keyring that generates and wraps data keys. Called several times: the keys must be the same each time. */
  readonly writer: () => Keyring | Promise<Keyring>;
  /** Makes a keyring that opens what `writer` has wrapped; by default `writer` does. */
  readonly reader?: (() => Keyring | Promise<Keyring>) | undefined;
  /** Makes a keyring of the same kind that must not open what `writer` has wrapped. */
  readonly stranger?: (() => Keyring | Promise<Keyring>) | undefined;
  /**
   * Whether a wrapped key opens only under its encryption context. `unbound` keyrings, as RSA ones, leave that to the
   * header of the message. By default `bound`.
   */
  readonly encryptionContext?: "bound" | "unbound" | undefined;
  /**
   * What happens to an altered wrapped key: `detected` by default. `other-key` is for wraps that return another key,
   * which the commitment or header of the message detects.
   */
  readonly alteration?: "detected" | "other-key" | undefined;
  /**
   * `told`: the keyring must say in `request.skipped` why it passes over entries of others. By default it may; what it
   * says is looked at.
   */
  readonly reasons?: "told" | undefined;
}

/** What the subject must be. */
const SUBJECT: Checks<KeyringSubject> = {
  writer: needed(callback),
  reader: callback,
  stranger: callback,
  encryptionContext: oneOf("bound", "unbound"),
  alteration: oneOf("detected", "other-key"),
  reasons: oneOf("told"),
};

/** A check that failed. */
export interface KeyringViolation {
  readonly check: string;
  readonly reason: unknown;
}

/**
 * Runs all checks and returns their names.
 * @throws AggregateError with what each failed check said; TypeError for a subject that is none
 */
export async function checkKeyring(givenSubject: KeyringSubject): Promise<readonly string[]> {
  const subject = checkOptions("subject", givenSubject, SUBJECT);
  const keyrings: Keyrings = {
    writer: await subject.writer(),
    otherWriter: await subject.writer(),
    reader: await (subject.reader ?? subject.writer)(),
    stranger: await subject.stranger?.(),
    subject,
  };
  const violations: KeyringViolation[] = [];
  for (const [check, run] of checks) {
    try {
      await run(keyrings);
    } catch (reason) {
      violations.push({ check, reason });
    }
  }
  if (violations.length === 0) return checks.map(([check]) => check);
  const texts = violations.map(
    ({ check, reason }) => `${check}: ${shorten(isError(reason) ? reason.message : String(reason))}`,
  );
  throw new AggregateError(
    violations.map(({ reason }) => reason),
    `keyring violates ${violations.length} of ${checks.length} checks:\n${texts.join("\n")}`,
  );
}

interface Keyrings {
  readonly writer: Keyring;
  readonly otherWriter: Keyring;
  readonly reader: Keyring;
  readonly stranger: Keyring | undefined;
  readonly subject: KeyringSubject;
}

const context: EncryptionContext = Object.freeze({
  purpose: "check",
  größe: "ß",
  "": "empty key",
  "\u{1f600}": "\uff5e",
});
const suiteIds = [0x0478, 0x0578, 0x0114, 0x0146, 0x0178] as const;

function requestFor(suite: AlgorithmSuite, encryptionContext: EncryptionContext = context): DataKeyRequest {
  return Object.freeze({
    suite,
    commitmentPolicy:
      suite.commitment === "key" ? "REQUIRE_ENCRYPT_REQUIRE_DECRYPT" : "FORBID_ENCRYPT_ALLOW_DECRYPT",
    encryptionContext,
  });
}
const request = requestFor(suiteById(0x0478));

const foreignEntries: readonly EncryptedDataKey[] = [
  { providerId: "somebody-else", providerInfo: Buffer.from("key"), ciphertext: Buffer.alloc(48, 7) },
  { providerId: "", providerInfo: Buffer.alloc(0), ciphertext: Buffer.alloc(0) },
  { providerId: "aws-kms", providerInfo: Buffer.from("arn:aws:kms:none"), ciphertext: Buffer.alloc(184, 7) },
];

const checks: readonly (readonly [string, (keyrings: Keyrings) => Promise<void>])[] = [
  ["makes keys of the suite's length", makesKeysOfTheRightLength],
  ["makes another key each time", makesFreshKeys],
  ["gives each key in memory of its own, and leaves it alone", givesKeysAway],
  ["wraps into entries that a header can hold", makesWritableEntries],
  ["gives its entries away", givesEntriesAway],
  ["opens what it has wrapped, in memory of its own", opensItsOwn],
  ["opens what another instance with the same keys has wrapped", opensForOtherInstances],
  ["wraps a given key without changing or keeping it", wrapsGivenKeys],
  ["returns null for entries of others", ignoresForeignEntries],
  ["says in plain words why it passes over them, if it does", tellsReasons],
  ["finds its entry among others, and a good one behind a broken one", findsItsEntry],
  ["refuses altered entries", refusesAlteredEntries],
  ["binds the encryption context", bindsContext],
  ["does not open with the keys of a stranger", refusesStrangers],
  ["leaves what it is given as it is", leavesInputsAlone],
  ["serves several messages at a time", worksConcurrently],
  ["shows no key when printed", showsNoKey],
  ["encrypts and decrypts messages of every suite", sealsMessages],
];

async function makesKeysOfTheRightLength({ writer }: Keyrings): Promise<void> {
  for (const id of suiteIds) {
    const suite = suiteById(id);
    const { dataKey } = await writer.generateDataKey(requestFor(suite));
    require(isBytes(dataKey), "a data key is no Uint8Array");
    require(dataKey.length ===
      suite.keyLength, `a data key has ${dataKey.length} bytes instead of ${suite.keyLength}`);
  }
}

async function makesFreshKeys({ writer }: Keyrings): Promise<void> {
  const seen = new Set<string>();
  for (let i = 0; i < 4; i++) {
    // A cache gives one key for one context, so each has its own.
    const { dataKey } = await writer.generateDataKey(requestFor(request.suite, { i: String(i) }));
    require(!isAllZeros(dataKey), "a data key is all zeros");
    seen.add(hex(dataKey));
  }
  require(seen.size === 4, "a data key was made twice");
}

// A message copies its key and wipes what it was given, so memory that is used again makes the next message fail.
async function givesKeysAway({ writer, reader }: Keyrings): Promise<void> {
  const [one, two] = [requestFor(request.suite, { own: "1" }), requestFor(request.suite, { own: "2" })];
  const made = [
    await writer.generateDataKey(one),
    await writer.generateDataKey(one),
    await writer.generateDataKey(two),
  ];
  const entries = made.map(({ encryptedDataKeys }) => encryptedDataKeys);
  const opened = [
    await mustOpen(reader, entries[0] ?? [], one),
    await mustOpen(reader, entries[0] ?? [], one),
    await mustOpen(reader, entries[2] ?? [], two),
  ];
  const keys = [...made.map(({ dataKey }) => dataKey), ...opened];
  const before = keys.map(hex);
  for (const [index, key] of keys.entries()) {
    require(bytesLength(key) !== undefined, "a data key is no Uint8Array");
    require(!isShared(key), "a data key is in shared memory, where it can change while it is copied");
    require(!isAllZeros(key), "a data key is zeros: its memory was given away twice");
    key.fill(0);
    const untouched = keys.slice(index + 1).every((other, at) => hex(other) === before[index + 1 + at]);
    require(untouched, "wiping one data key changes another");
    key.fill(index + 1);
  }
  await new Promise((resolve) => setTimeout(resolve));
  const left = keys.every((key, index) => key.every((byte) => byte === index + 1));
  require(left, "a data key is changed after it was given");
}

async function givesEntriesAway({ writer, reader }: Keyrings): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const made = await copyOf(writer.generateDataKey(request));
    require(Array.isArray(made.encryptedDataKeys), "the wrapped keys are no array");
    require(hex(await mustOpen(reader, made.encryptedDataKeys, request)) ===
      made.key, "it changes its entries");
    for (const { providerInfo, ciphertext } of made.encryptedDataKeys) {
      require(bytesLength(providerInfo) !== undefined, "providerInfo is no Uint8Array");
      require(bytesLength(ciphertext) !== undefined, "a wrapped key is no Uint8Array");
      providerInfo.fill(0);
      ciphertext.fill(0);
    }
  }
}

async function makesWritableEntries({ writer }: Keyrings): Promise<void> {
  const { dataKey, encryptedDataKeys } = await writer.generateDataKey(request);
  require(encryptedDataKeys.length > 0, "there is no wrapped key");
  for (const { providerId, providerInfo, ciphertext } of encryptedDataKeys) {
    const provider = Buffer.from(providerId, "utf8");
    require(providerId !== "" &&
      provider.toString("utf8") === providerId, "providerId is empty or not well-formed");
    require(ciphertext.length > 0, "a wrapped key is empty");
    for (const field of [provider, providerInfo, ciphertext]) {
      require(field.length <=
        MAX_UINT16, `a field has ${field.length} bytes, a header can hold ${MAX_UINT16}`);
      require(!hex(field).includes(hex(dataKey)), "the data key is in the entry as it is");
    }
  }
}

async function opensItsOwn({ writer, reader }: Keyrings): Promise<void> {
  const made = await copyOf(writer.generateDataKey(request));
  const first = await mustOpen(reader, made.encryptedDataKeys, request);
  require(hex(first) === made.key, "it opens another key than it made");
  first.fill(0);
  const second = await mustOpen(reader, made.encryptedDataKeys, request);
  require(hex(second) === made.key, "wiping the key of one message wipes that of the next");
}

async function opensForOtherInstances({ otherWriter, reader }: Keyrings): Promise<void> {
  const made = await copyOf(otherWriter.generateDataKey(request));
  require(hex(await mustOpen(reader, made.encryptedDataKeys, request)) === made.key, "it opens another key");
}

async function wrapsGivenKeys({ writer, reader }: Keyrings): Promise<void> {
  const dataKey = new Uint8Array(32).map((_, i) => i * 7 + 1);
  const expected = hex(dataKey);
  const entries = await writer.wrapDataKey(dataKey, request);
  require(hex(dataKey) === expected, "it changed the data key");
  dataKey.fill(0);
  require(entries.length > 0, "it wrapped nothing");
  require(hex(await mustOpen(reader, entries, request)) === expected, "it opens another key than it wrapped");
}

async function ignoresForeignEntries({ reader }: Keyrings): Promise<void> {
  for (const entries of [[], foreignEntries])
    require((await reader.unwrapDataKey(entries, request)) === null, "it does not return null");
}

// Messages of others decide what is in the entries, and errors show what is said about them.
async function tellsReasons({ reader, subject }: Keyrings): Promise<void> {
  const name = `\u001b[2J\u202e\n${"long ".repeat(2000)}`;
  const hostile = { providerId: name, providerInfo: Buffer.from(name), ciphertext: Buffer.alloc(48, 7) };
  const reasons: unknown[] = [];
  const skipped: SkippedKeys = {
    get count() {
      return reasons.length;
    },
    add(reason) {
      reasons.push(reason);
    },
  };
  const entries = [...foreignEntries, hostile];
  require((await reader.unwrapDataKey(entries, { ...request, skipped })) === null, "it does not return null");
  for (const reason of reasons) {
    require(typeof reason === "string" && reason.trim() !== "", "a reason is no text");
    require(shorten(reason, 1000) ===
      reason, "a reason has control characters, or is longer than 1,000 characters");
  }
  const told = reasons.length >= entries.length;
  require(told || (reasons.length === 0 && subject.reasons !== "told"), "it says nothing about some entries");
}

async function findsItsEntry({ writer, reader, subject }: Keyrings): Promise<void> {
  const made = await copyOf(writer.generateDataKey(request));
  const among = [...foreignEntries, ...made.encryptedDataKeys, ...foreignEntries];
  require(hex(await mustOpen(reader, among, request)) === made.key, "it misses its entry among others");
  if (subject.alteration === "other-key") return;
  const behind = [...made.encryptedDataKeys.map(flipLastBit), ...made.encryptedDataKeys];
  require(hex(await mustOpen(reader, behind, request)) === made.key, "it stops at a broken entry");
}

async function refusesAlteredEntries({ writer, reader, subject }: Keyrings): Promise<void> {
  const made = await copyOf(writer.generateDataKey(request));
  const alterations: readonly (readonly [string, (entry: EncryptedDataKey) => EncryptedDataKey])[] = [
    ["with a flipped bit", flipLastBit],
    ["that is cut", (entry) => ({ ...entry, ciphertext: entry.ciphertext.subarray(0, -1) })],
    [
      "that is too long",
      (entry) => ({ ...entry, ciphertext: Buffer.concat([entry.ciphertext, Buffer.of(0)]) }),
    ],
    ["that is empty", (entry) => ({ ...entry, ciphertext: new Uint8Array(0) })],
  ];
  for (const [what, alter] of alterations) {
    const entries = made.encryptedDataKeys.map(alter);
    const outcome = await tryToOpen(reader, entries, request);
    require(outcome.kind !== "key" || hex(outcome.key) !== made.key, `it opens an entry ${what}`);
    require(outcome.kind !== "null", `it returns null for an entry of its own ${what}, instead of an error`);
    require(outcome.kind === "error" || subject.alteration === "other-key", `it opens an entry ${what}`);
    if (outcome.kind === "error")
      require(!mentions(outcome.error, made.key), `its error about an entry ${what} shows the key`);
  }
}

async function bindsContext({ writer, reader, subject }: Keyrings): Promise<void> {
  if (subject.encryptionContext === "unbound") return;
  const made = await copyOf(writer.generateDataKey(request));
  for (const other of [{}, { ...context, purpose: "another" }, { ...context, more: "" }]) {
    const outcome = await tryToOpen(reader, made.encryptedDataKeys, requestFor(request.suite, other));
    require(outcome.kind === "error", "it opens under another encryption context");
  }
}

async function refusesStrangers({ writer, stranger }: Keyrings): Promise<void> {
  if (stranger === undefined) return;
  const made = await copyOf(writer.generateDataKey(request));
  const outcome = await tryToOpen(stranger, made.encryptedDataKeys, request);
  require(outcome.kind !== "key" || hex(outcome.key) !== made.key, "a stranger opens the key");
}

async function leavesInputsAlone({ writer, reader }: Keyrings): Promise<void> {
  const before = JSON.stringify(request);
  const { encryptedDataKeys } = await writer.generateDataKey(request);
  const entries = Object.freeze(encryptedDataKeys.map((entry) => Object.freeze({ ...entry })));
  const bytes = entries.map(({ providerInfo, ciphertext }) => hex(providerInfo) + hex(ciphertext)).join();
  await mustOpen(reader, entries, request);
  require(JSON.stringify(request) === before, "it changed the request");
  require(entries.map(({ providerInfo, ciphertext }) => hex(providerInfo) + hex(ciphertext)).join() ===
    bytes, "it changed the entries");
}

async function worksConcurrently({ writer, reader }: Keyrings): Promise<void> {
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      const own = requestFor(request.suite, { message: String(i) });
      const made = await copyOf(writer.generateDataKey(own));
      const opened = await mustOpen(reader, made.encryptedDataKeys, own);
      require(hex(opened) === made.key, "keys of two messages are mixed up");
    }),
  );
}

async function showsNoKey({ writer, reader }: Keyrings): Promise<void> {
  const made = await copyOf(writer.generateDataKey(request));
  await mustOpen(reader, made.encryptedDataKeys, request);
  for (const keyring of [writer, reader])
    require(!mentions(keyring, made.key), "util.inspect or JSON shows a data key");
}

async function sealsMessages({ writer, reader }: Keyrings): Promise<void> {
  const plaintext = Buffer.from("a few bytes");
  for (const suite of suiteIds) {
    const { commitmentPolicy } = requestFor(suiteById(suite));
    const sealed = await encrypt(plaintext, {
      keyring: writer,
      encryptionContext: context,
      suite,
      commitmentPolicy,
    });
    const opened = await decrypt(sealed, { keyring: reader, encryptionContext: context, commitmentPolicy });
    require(plaintext.equals(opened.plaintext), "a message does not come back as it was");
  }
}

// The made key as text, since its bytes are wiped as a message would do.
async function copyOf(
  made: Promise<GeneratedDataKey>,
): Promise<{ readonly key: string; readonly encryptedDataKeys: readonly EncryptedDataKey[] }> {
  const { dataKey, encryptedDataKeys } = await made;
  const key = hex(dataKey);
  dataKey.fill(0);
  return { key, encryptedDataKeys };
}

type Outcome =
  | { readonly kind: "key"; readonly key: Uint8Array }
  | { readonly kind: "null" }
  | { readonly kind: "error"; readonly error: unknown };

async function tryToOpen(
  keyring: Keyring,
  entries: readonly EncryptedDataKey[],
  asked: DataKeyRequest,
): Promise<Outcome> {
  try {
    const key = await keyring.unwrapDataKey(entries, asked);
    return key === null ? { kind: "null" } : { kind: "key", key };
  } catch (error) {
    return { kind: "error", error };
  }
}

async function mustOpen(
  keyring: Keyring,
  entries: readonly EncryptedDataKey[],
  asked: DataKeyRequest,
): Promise<Uint8Array> {
  const key = await keyring.unwrapDataKey(entries, asked);
  require(key !== null, "it returns null for an entry of its own");
  require(key.length ===
    asked.suite.keyLength, `it returns ${key.length} bytes instead of ${asked.suite.keyLength}`);
  return key;
}

function flipLastBit(entry: EncryptedDataKey): EncryptedDataKey {
  const ciphertext = Uint8Array.from(entry.ciphertext);
  const last = ciphertext.length - 1;
  ciphertext[last] = (ciphertext[last] ?? 0) ^ 1;
  return { ...entry, ciphertext };
}

// Whether a printed form holds the key, in any of the usual spellings.
function mentions(value: unknown, keyHex: string): boolean {
  const key = Buffer.from(keyHex, "hex");
  let json = "";
  try {
    json = JSON.stringify(value) ?? "";
  } catch {
    // Circular values have no JSON.
  }
  const shown =
    inspect(value, { depth: 12, showHidden: true, maxArrayLength: 1000, maxStringLength: 100_000 }) + json;
  const spellings = [
    keyHex,
    keyHex.replace(/..(?!$)/g, "$& "),
    key.toString("base64"),
    key.toString("base64url"),
    key.toString("latin1"),
    [...key].join(","),
    [...key].join(", "),
  ];
  return spellings.some((spelling) => shown.includes(spelling));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}
