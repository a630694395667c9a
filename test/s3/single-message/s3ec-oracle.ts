// An independent reader of S3 Encryption Client objects, on node:crypto alone and straight from the specification.
import { constants, createDecipheriv, hkdfSync, type KeyObject, privateDecrypt } from "node:crypto";

type Map = Readonly<Record<string, string>>;

/** Opens a body whose envelope is `entries`. @param unwrapKms gives the data key of KMS objects */
export async function openByOracle(
  entries: Map,
  body: Buffer,
  keys: { aes?: Buffer; rsa?: KeyObject; unwrapKms?: (edk: Buffer, context: Map) => Promise<Uint8Array> },
): Promise<Buffer> {
  const bytes = (name: string): Buffer => Buffer.from(entries[name] ?? "", "base64");
  const committing = entries["x-amz-c"] === "115";
  const wrap = committing
    ? { "02": "AES/GCM", "12": "kms+context", "22": "RSA-OAEP-SHA1" }[entries["x-amz-w"] ?? ""]
    : entries["x-amz-wrap-alg"];
  const algorithm = committing ? "115" : "AES/GCM/NoPadding";
  const edk = bytes(committing ? "x-amz-3" : "x-amz-key-v2");
  const dataKey = await (async (): Promise<Buffer> => {
    if (wrap === "AES/GCM" && keys.aes !== undefined)
      return openGcm(keys.aes, edk.subarray(0, 12), Buffer.from(algorithm), edk.subarray(12));
    if (wrap === "RSA-OAEP-SHA1" && keys.rsa !== undefined) {
      const padding = constants.RSA_PKCS1_OAEP_PADDING;
      const opened = privateDecrypt({ key: keys.rsa, padding, oaepHash: "sha1" }, edk);
      if (opened[0] !== 32 || opened.subarray(33).toString() !== algorithm) throw new Error("wrong RSA wrap");
      return opened.subarray(1, 33);
    }
    const context = JSON.parse(entries[committing ? "x-amz-t" : "x-amz-matdesc"] ?? "") as Map;
    if (wrap !== "kms+context" || context["aws:x-amz-cek-alg"] !== algorithm || keys.unwrapKms === undefined)
      throw new Error("wrong KMS wrap");
    return Buffer.from(await keys.unwrapKms(edk, context));
  })();
  if (!committing) return openGcm(dataKey, bytes("x-amz-iv"), Buffer.alloc(0), body);
  const derive = (label: string, length: number): Buffer =>
    Buffer.from(hkdfSync("sha512", dataKey, bytes("x-amz-i"), Buffer.from(`\0s${label}`, "latin1"), length));
  if (!derive("COMMITKEY", 28).equals(bytes("x-amz-d"))) throw new Error("wrong commitment");
  return openGcm(derive("DERIVEKEY", 32), Buffer.alloc(12, 1), Buffer.of(0, 0x73), body);
}

function openGcm(key: Buffer, iv: Buffer, aad: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, iv, { authTagLength: 16 });
  decipher.setAAD(aad).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}
