// A self-signed certificate for 127.0.0.1, so that servers on loopback can speak TLS. (RFC 5280, X.690)
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";

/** Private key and certificate as PEM. */
export interface LoopbackCertificate {
  readonly key: string;
  readonly cert: string;
}

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 128) return Buffer.concat([Buffer.of(tag, length), content]);
  return Buffer.concat([Buffer.of(tag, 0x82, length >> 8, length & 0xff), content]);
}
const sequence = (...contents: readonly Uint8Array[]): Buffer => der(0x30, ...contents);
const objectId = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const time = (date: Date): Buffer => {
  const digits = date.toISOString().replace(/[-T:]/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
};

/** Makes one that is valid for a day, or was until a day ago; for 127.0.0.1, or for another address. */
export function createLoopbackCertificate({
  expired = false,
  address: bytes = [127, 0, 0, 1],
}: {
  readonly expired?: boolean;
  readonly address?: readonly number[];
} = {}): LoopbackCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const ecdsaWithSha256 = sequence(objectId("2a8648ce3d040302"));
  const commonName = sequence(objectId("550403"), der(0x0c, Buffer.from("loopback")));
  const name = sequence(der(0x31, commonName));
  const day = 86_400_000;
  const address = der(0x04, sequence(der(0x87, Buffer.from(bytes))));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ecdsaWithSha256,
    name,
    sequence(time(new Date(Date.now() - day)), time(new Date(Date.now() + (expired ? -day / 2 : day)))),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(sequence(objectId("551d11"), address))),
  );
  const signature = der(0x03, Buffer.of(0), sign("sha256", body, privateKey));
  const text = sequence(body, ecdsaWithSha256, signature).toString("base64").replace(/.{64}/g, "$&\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`,
  };
}
