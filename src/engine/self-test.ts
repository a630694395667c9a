// Known answers that every engine must give before its first use: an engine that computes something else than
// AES-GCM must never seal a byte.
import { FramesealError } from "../errors.ts";
import { type Engine, FINAL_FRAME_OVERHEAD, NO_FINAL_FRAME, REGULAR_FRAME_OVERHEAD } from "./engine.ts";

/** Test case 16 of the GCM specification (McGrew and Viega, 2005): AES-256, 60 bytes, 20 bytes of AAD. */
const SHORT = {
  key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
  nonce: "cafebabefacedbaddecaf888",
  aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
  plaintext:
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
  sealed:
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
    "76fc6ece0f4e1768cddf8853bb2d551b",
};
/** The same key, nonce and AAD over bytes (7i + 3) mod 256: long enough for the widest loop of any kernel. */
const LONG = { length: 5_555, tag: "b3b4a85eca861a549fa2fc400807f1a6" };

const checked = new WeakSet<Engine>();

/**
 * Lets `engine` answer the known answers, once.
 * @throws FramesealError ENGINE_UNAVAILABLE if an answer is wrong.
 */
export function selfTest(engine: Engine): void {
  if (checked.has(engine)) return;
  let failure: string | undefined;
  try {
    failure = findWrongAnswer(engine);
  } catch (cause) {
    throw new FramesealError("ENGINE_UNAVAILABLE", `engine ${engine.name} failed its self-test`, { cause });
  }
  if (failure !== undefined) {
    throw new FramesealError("ENGINE_UNAVAILABLE", `engine ${engine.name} failed its self-test: ${failure}`);
  }
  checked.add(engine);
}

function findWrongAnswer(engine: Engine): string | undefined {
  const rawKey = fromHex(SHORT.key);
  const key = engine.createKey(rawKey);
  rawKey.fill(0); // the engine must have made a copy
  try {
    const nonce = fromHex(SHORT.nonce);
    const aad = fromHex(SHORT.aad);
    const plaintext = fromHex(SHORT.plaintext);
    const sealed = key.seal(nonce, aad, plaintext);
    if (toHex(sealed) !== SHORT.sealed) return "wrong ciphertext";
    const opened = key.open(nonce, aad, sealed);
    if (opened === null || toHex(opened) !== SHORT.plaintext) return "wrong plaintext";
    for (const at of [0, sealed.length - 1]) {
      const forged = Uint8Array.from(sealed);
      forged[at] = (forged[at] ?? 0) ^ 1;
      if (key.open(nonce, aad, forged) !== null) return "forged bytes accepted";
    }
    const long = Uint8Array.from({ length: LONG.length }, (_, i) => 7 * i + 3);
    const sealer = key.startSeal(nonce, aad);
    const ciphertext = [sealer.update(long.subarray(0, 1_000)), sealer.update(long.subarray(1_000))];
    const tag = sealer.final();
    if (toHex(tag) !== LONG.tag) return "wrong tag";
    const opener = key.startOpen(nonce, aad);
    const pieces = ciphertext.map((piece) => Buffer.from(opener.update(piece)));
    if (!Buffer.concat(pieces).equals(long) || !opener.final(tag)) return "wrong plaintext";
    return findWrongFrame(engine);
  } finally {
    key.dispose();
  }
}

/** Two regular frames and a final one, compared with one GCM call each. */
function findWrongFrame(engine: Engine): string | undefined {
  const key = engine.createKey(fromHex(SHORT.key));
  try {
    const [frameLength, finalLength, firstSequence] = [48, 20, 0x01020304];
    const prefixes = { regularAadPrefix: fromHex("0102"), finalAadPrefix: fromHex("030405") };
    const cipher = key.frameCipher({ frameLength, ...prefixes });
    const plaintext = Uint8Array.from({ length: 2 * frameLength + finalLength }, (_, i) => i);
    const sealed = cipher.seal(
      [plaintext.subarray(0, 50), plaintext.subarray(50)],
      firstSequence,
      2,
      finalLength,
      3,
    );
    const expected = [Buffer.alloc(3)];
    for (const index of [0, 1, 2]) {
      const isFinal = index === 2;
      const part = plaintext.subarray(index * frameLength, (index + 1) * frameLength);
      const nonce = Buffer.alloc(12);
      const sequence = nonce.subarray(8);
      sequence.writeUInt32BE(firstSequence + index);
      const length = Buffer.alloc(8);
      length.writeUInt32BE(part.length, 4);
      const prefix = isFinal ? prefixes.finalAadPrefix : prefixes.regularAadPrefix;
      if (isFinal) expected.push(Buffer.alloc(4, 0xff));
      expected.push(sequence, nonce);
      if (isFinal) expected.push(length.subarray(4));
      expected.push(Buffer.from(key.seal(nonce, Buffer.concat([prefix, sequence, length]), part)));
    }
    if (!Buffer.concat(expected).equals(sealed)) return "wrong frames";
    const frames = sealed.subarray(3);
    const opened = cipher.open([frames.subarray(0, 9), frames.subarray(9)], firstSequence, 2, finalLength);
    if (opened.verifiedCount !== 3 || !Buffer.from(opened.plaintext).equals(plaintext))
      return "wrong frames opened";
    const forged = Uint8Array.from(frames);
    const last = frames.length - FINAL_FRAME_OVERHEAD - finalLength - 1; // in the tag of the second frame
    forged[last] = (forged[last] ?? 0) ^ 0x80;
    const prefix = cipher.open([forged], firstSequence, 2, finalLength);
    if (
      prefix.verifiedCount !== 1 ||
      !Buffer.from(prefix.plaintext).equals(plaintext.subarray(0, frameLength))
    ) {
      return "forged frame accepted";
    }
    const one = frames.subarray(0, frameLength + REGULAR_FRAME_OVERHEAD);
    if (cipher.open([one], firstSequence + 1, 1, NO_FINAL_FRAME).verifiedCount !== 0) {
      return "wrong sequence number accepted";
    }
    return undefined;
  } finally {
    key.dispose();
  }
}

function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
