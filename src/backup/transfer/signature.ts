// Signature version 4 of a request with a short body. The signing key of a day is made once.
import { createHash, createHmac } from "node:crypto";

/** Who signs. */
export interface Signer {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** For whom. */
export interface Scope {
  readonly region: string;
  readonly service: string;
}

/** What is signed. */
export interface Signable {
  readonly method: string;
  /** As it is sent: nothing is encoded here. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  /** Names in lower case; values without spaces around them, and no two in a row. `x-amz-date` and `x-amz-content-sha256` are there. */
  readonly headers: Readonly<Record<string, string>>;
}

const ALGORITHM = "AWS4-HMAC-SHA256";

/** `20260102T030405Z` */
export function amzDate(moment: Date): string {
  return moment.toISOString().replace(/[-:]|\.\d+/g, "");
}

/** The header `authorization`. */
export function authorizationOf(request: Signable, signer: Signer, { region, service }: Scope): string {
  const { method, path, query, headers } = request;
  const { "x-amz-date": date = "", "x-amz-content-sha256": digest = "" } = headers;
  const names = Object.keys(headers).filter(isSigned).sort();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const signed = names.join(";");
  const parameters = Object.keys(query)
    .sort()
    .map((name) => `${encodeURIComponent(name)}=${encodeURIComponent(query[name] ?? "")}`)
    .join("&");
  const canonical = `${method}\n${path}\n${parameters}\n${lines}\n${signed}\n${digest}`;
  const scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  const toSign = `${ALGORITHM}\n${date}\n${scope}\n${createHash("sha256").update(canonical).digest("hex")}`;
  const signature = createHmac("sha256", keyOf(signer, scope)).update(toSign).digest("hex");
  return `${ALGORITHM} Credential=${signer.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
}

function isSigned(name: string): boolean {
  return name === "host" || name === "content-type" || name.startsWith("x-amz-");
}

let kept: { readonly secret: string; readonly scope: string; readonly key: Buffer } | undefined;

function keyOf({ secretAccessKey: secret }: Signer, scope: string): Buffer {
  if (kept?.secret !== secret || kept.scope !== scope) {
    let key = Buffer.from(`AWS4${secret}`);
    for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
    kept = { secret, scope, key };
  }
  return kept.key;
}
