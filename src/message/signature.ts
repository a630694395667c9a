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
  type Verify,
} from "node:crypto";
import { allocateSecret, wipe } from "../bytes.ts";
import type { BackgroundHash, Engine, HashBits } from "../engine/engine.ts";
import { FramesealError } from "../errors.ts";
import { MAX_UPDATE_LENGTH } from "../format/limits.ts";
import type { AlgorithmSuite, Curve } from "../format/suite.ts";

type SignatureSuite = Exclude<AlgorithmSuite["signature"], "none">;

const hashBits: Readonly<Record<SignatureSuite["hash"], HashBits>> = { sha256: 256, sha384: 384 };

interface CurveParameters {
  readonly opensslName: string;
  readonly coordinateLength: number;
  /** The commonest DER length, which AWS's SDKs fix too. */
  readonly signatureLength: number;
  /** SubjectPublicKeyInfo before a compressed point. (RFC 5480) */
  readonly spkiPrefix: string;
  /** Of its base point. (SEC 2) */
  readonly order: string;
  /** ECPrivateKey before the private key, and between that and the public key. (RFC 5915) */
  readonly privateKeyPrefix: string;
  readonly publicKeyPrefix: string;
}

const curves: Readonly<Record<Curve, CurveParameters>> = {
  "P-256": {
    opensslName: "prime256v1",
    coordinateLength: 32,
    signatureLength: 71,
    spkiPrefix: "3039301306072a8648ce3d020106082a8648ce3d030107032200",
    order: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    privateKeyPrefix: "30770201010420",
    publicKeyPrefix: "a00a06082a8648ce3d030107a144034200",
  },
  "P-384": {
    opensslName: "secp384r1",
    coordinateLength: 48,
    signatureLength: 103,
    spkiPrefix: "3046301006072a8648ce3d020106052b81040022033200",
    order: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    privateKeyPrefix: "3081a40201010430",
    publicKeyPrefix: "a00706052b81040022a164036200",
  },
};

/** Signs one message with a key pair of its own. */
export class MessageSigner {
  /** Base64 of the compressed public point, for the encryption context. */
  readonly publicKey: string;
  readonly #curve: Curve;
  readonly #background: BackgroundHash | undefined;
  readonly #hash: Hash | undefined;
  readonly #key: ECDH;

  /** @param engine hashes and signs if it can, on another thread if `concurrency` is more than 1 */
  constructor(suite: SignatureSuite, engine: Engine, concurrency: number) {
    this.#curve = suite.curve;
    this.#background = engine.startHash?.(hashBits[suite.hash], concurrency);
    this.#hash = this.#background === undefined ? createHash(suite.hash) : undefined;
    this.#key = createECDH(curves[suite.curve].opensslName);
    this.publicKey = this.#key.generateKeys("base64", "compressed");
  }

  /**
   * Adds the next bytes of the message. If it returns a promise, they are being hashed on another thread: nobody may
   * change them before it is settled.
   */
  update(bytes: Uint8Array): void | Promise<void> {
    if (this.#background !== undefined) return this.#background.update(bytes);
    if (this.#hash !== undefined) updateInPieces(this.#hash, bytes);
  }

  /** Lets go of a hash that is not finished. */
  dispose(): void {
    this.#background?.dispose();
  }

  /**
   * Resolves to the DER signature, 71 or 103 bytes. node:crypto signs no finished hash, and each signature that it makes
   * of a message would hash that again; so without an engine that signs it is done by a library of its own.
   */
  async sign(): Promise<Uint8Array> {
    const { signatureLength, order } = curves[this.#curve];
    const { encoded, scalar } = this.#privateKey();
    try {
      if (this.#background !== undefined)
        return await this.#background.sign(encoded, Buffer.from(order, "hex"), signatureLength);
      if (this.#hash === undefined) throw new Error("internal error: no hash");
      const { signDigest } = await import("./sign-digest.ts");
      return signDigest(this.#curve, scalar, this.#hash.digest(), signatureLength);
    } finally {
      wipe(encoded);
    }
  }

  /** ECPrivateKey in DER, and the number in it; the caller wipes them. */
  #privateKey(): { readonly encoded: Uint8Array; readonly scalar: Uint8Array } {
    const { coordinateLength, privateKeyPrefix, publicKeyPrefix } = curves[this.#curve];
    const prefix = Buffer.from(privateKeyPrefix, "hex");
    const end = prefix.length + coordinateLength;
    const behind = Buffer.concat([Buffer.from(publicKeyPrefix, "hex"), this.#key.getPublicKey()]);
    const encoded = allocateSecret(end + behind.length);
    encoded.set(prefix);
    encoded.set(behind, end);
    const bytes = this.#key.getPrivateKey();
    encoded.set(bytes, end - bytes.length); // without its leading zeros
    wipe(bytes);
    return { encoded, scalar: encoded.subarray(prefix.length, end) };
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
    updateInPieces(this.#verify, bytes);
  }

  /** True if `signature` (DER) is one of all bytes added. May be called once. */
  async verify(signature: Uint8Array): Promise<boolean> {
    if (this.#background !== undefined) return this.#background.verify(this.#spki, signature);
    const verify = this.#verify ?? createVerify(this.#hash);
    for (const piece of this.#gathered ?? []) updateInPieces(verify, piece);
    return verify.verify(this.#key, signature);
  }

  /** Lets go of a hash that is not finished. */
  dispose(): void {
    this.#background?.dispose();
    this.#gathered = undefined;
  }
}

/** Node hashes less than 2 GiB at a time. */
function updateInPieces(hash: Hash | Verify, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += MAX_UPDATE_LENGTH)
    hash.update(bytes.subarray(at, at + MAX_UPDATE_LENGTH));
}
