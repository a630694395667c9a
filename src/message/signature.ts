// ECDSA over a whole message, for the signing suites. The hash runs beside the frames, on another thread where the engine
// offers one; the DER signature gets a fixed length, so that the length of a message is known before its first byte.
import {
  createECDH,
  createHash,
  createPublicKey,
  createVerify,
  type ECDH,
  type Hash,
  type KeyObject,
  randomBytes,
  type Verify,
} from "node:crypto";
import { wipe } from "../bytes.ts";
import type { BackgroundHash, Engine, HashBits } from "../engine/engine.ts";
import { FramesealError } from "../errors.ts";
import type { AlgorithmSuite, Curve } from "../format/suite.ts";

type SignatureSuite = Exclude<AlgorithmSuite["signature"], "none">;

const hashBits: Readonly<Record<SignatureSuite["hash"], HashBits>> = { sha256: 256, sha384: 384 };

interface CurveParameters {
  readonly opensslName: string;
  readonly order: bigint;
  readonly coordinateLength: number;
  /** The commonest DER length, which AWS's SDKs fix too. */
  readonly signatureLength: number;
  /** SubjectPublicKeyInfo before a compressed point. (RFC 5480) */
  readonly spkiPrefix: string;
}

const curves: Readonly<Record<Curve, CurveParameters>> = {
  "P-256": {
    opensslName: "prime256v1",
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    coordinateLength: 32,
    signatureLength: 71,
    spkiPrefix: "3039301306072a8648ce3d020106082a8648ce3d030107032200",
  },
  "P-384": {
    opensslName: "secp384r1",
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    coordinateLength: 48,
    signatureLength: 103,
    spkiPrefix: "3046301006072a8648ce3d020106052b81040022033200",
  },
};

/** Signs one message with a key pair of its own. */
export class MessageSigner {
  /** Base64 of the compressed public point, for the encryption context. */
  readonly publicKey: string;
  readonly #curve: CurveParameters;
  readonly #background: BackgroundHash | undefined;
  readonly #hash: Hash | undefined;
  readonly #key: ECDH;

  /** @param engine hashes on another thread if it can; without one it is done here */
  constructor(suite: SignatureSuite, engine: Engine | undefined) {
    this.#curve = curves[suite.curve];
    this.#background = engine?.startHash?.(hashBits[suite.hash]);
    this.#hash = this.#background === undefined ? createHash(suite.hash) : undefined;
    this.#key = createECDH(this.#curve.opensslName);
    this.publicKey = this.#key.generateKeys("base64", "compressed");
  }

  /**
   * Adds the next bytes of the message. If it returns a promise, they are being hashed on another thread: nobody may
   * change them before it is settled.
   */
  update(bytes: Uint8Array): void | Promise<void> {
    if (this.#background !== undefined) return this.#background.update(bytes);
    this.#hash?.update(bytes);
  }

  /** Lets go of a hash that is not finished. */
  dispose(): void {
    this.#background?.dispose();
  }

  /**
   * Resolves to the DER signature, 71 or 103 bytes. node:crypto signs no finished hash, and hashing again would need the
   * whole message again, so the equation s = (z + r·d) / k is solved here (SEC 1, 4.1.3); OpenSSL makes k and r = x(k·G).
   * Both sides of the fraction are multiplied by a random number, so that the time big integers take tells nothing.
   */
  async sign(): Promise<Uint8Array> {
    const { order, coordinateLength, signatureLength, opensslName } = this.#curve;
    const digest = (await this.#background?.digest()) ?? this.#hash?.digest();
    if (digest === undefined) throw new Error("internal error: no hash");
    const z = toBigInt(digest) % order; // hash length = order length in both suites
    const privateKey = this.#key.getPrivateKey();
    const d = toBigInt(privateKey);
    wipe(privateKey);
    for (;;) {
      const nonce = createECDH(opensslName);
      const r = toBigInt(nonce.generateKeys().subarray(1, 1 + coordinateLength)) % order;
      const nonceBytes = nonce.getPrivateKey();
      const k = toBigInt(nonceBytes);
      wipe(nonceBytes);
      const blind = (toBigInt(randomBytes(coordinateLength + 8)) % (order - 1n)) + 1n;
      const blindedKey = (blind * d) % order;
      const numerator = (blind * z + r * blindedKey) % order;
      const s = (numerator * invert((blind * k) % order, order)) % order;
      if (r === 0n || s === 0n) continue;
      // (r, s) and (r, n − s) are both valid: one of them often has the right length.
      for (const candidate of [s, order - s]) {
        const der = encodeDer(r, candidate);
        if (der.length === signatureLength) return der;
      }
    }
  }
}

/** A verifier gathers this much before it decides where to hash: short messages are sooner done without another thread. */
const GATHER_LENGTH = 64 * 1024;

/** Verifies the signature of one message. */
export class MessageVerifier {
  readonly #hash: SignatureSuite["hash"];
  readonly #engine: Engine | undefined;
  readonly #spki: Uint8Array;
  readonly #key: KeyObject;
  #gathered: Uint8Array[] | undefined = [];
  #gatheredLength = 0;
  #background: BackgroundHash | undefined;
  #verify: Verify | undefined;

  /**
   * @param publicKey the Base64 text from the encryption context
   * @param engine as with `MessageSigner`
   * @throws FramesealError INVALID_HEADER if it is not a compressed point of the suite's curve
   */
  constructor(suite: SignatureSuite, publicKey: string, engine: Engine | undefined) {
    const { spkiPrefix, coordinateLength } = curves[suite.curve];
    const point = Buffer.from(publicKey, "base64");
    try {
      if (point.length !== coordinateLength + 1 || point.toString("base64") !== publicKey)
        throw new RangeError("not a compressed point in Base64");
      this.#spki = Uint8Array.from([...Buffer.from(spkiPrefix, "hex"), ...point]);
      this.#key = createPublicKey({ key: Buffer.from(this.#spki), format: "der", type: "spki" });
    } catch (cause) {
      throw new FramesealError("INVALID_HEADER", "public key in the encryption context is invalid", {
        cause,
      });
    }
    this.#hash = suite.hash;
    this.#engine = engine;
  }

  /**
   * Adds the next bytes of the message, as received. Nobody may change them before the verifier is done with them: when
   * the promise is settled if it returns one, else after the next call that does, or `verify`.
   */
  update(bytes: Uint8Array): void | Promise<void> {
    const gathered = this.#gathered;
    if (gathered === undefined) return this.#add(bytes);
    gathered.push(bytes);
    this.#gatheredLength += bytes.length;
    if (this.#gatheredLength < GATHER_LENGTH) return;
    this.#gathered = undefined;
    this.#background = this.#engine?.startHash?.(hashBits[this.#hash]);
    // Pieces are hashed in order, so when the last is done, all are.
    return gathered.map((piece) => this.#add(piece)).at(-1);
  }

  #add(bytes: Uint8Array): void | Promise<void> {
    if (this.#background !== undefined) return this.#background.update(bytes);
    this.#verify ??= createVerify(this.#hash);
    this.#verify.update(bytes);
  }

  /** True if `signature` (DER) is one of all bytes added. May be called once. */
  async verify(signature: Uint8Array): Promise<boolean> {
    if (this.#background !== undefined) return this.#background.verify(this.#spki, signature);
    const verify = this.#verify ?? createVerify(this.#hash);
    for (const piece of this.#gathered ?? []) verify.update(piece);
    return verify.verify(this.#key, signature);
  }

  /** Lets go of a hash that is not finished. */
  dispose(): void {
    this.#background?.dispose();
    this.#gathered = undefined;
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`);
}

function invert(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value, modulus, 1n, 0n];
  while (b !== 0n) {
    const quotient = a / b;
    [a, b] = [b, a - quotient * b];
    [x, y] = [y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}

function encodeDer(r: bigint, s: bigint): Uint8Array {
  const integers = Buffer.concat([encodeDerInteger(r), encodeDerInteger(s)]);
  return Buffer.concat([Buffer.of(0x30, integers.length), integers]); // at most 102 bytes: short form
}

function encodeDerInteger(value: bigint): Buffer {
  const hex = value.toString(16);
  const digits = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  const padding = (digits[0] ?? 0) >= 0x80 ? Buffer.of(0) : Buffer.alloc(0);
  return Buffer.concat([Buffer.of(0x02, padding.length + digits.length), padding, digits]);
}
