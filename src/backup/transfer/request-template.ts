// A request by which the SDK has stored or fetched an object, as a template for the next ones: where it went and what it
// said is kept, and what belongs to one object is put in anew. What is not understood makes no template.
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { isBytes } from "../../shapes.ts";
import { amzDate, authorizationOf, type Scope, type Signer } from "./signature.ts";

/** A request of HTTP, as handlers take it. */
export interface DirectRequest {
  readonly method: string;
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

/** What belongs to one object. */
export interface RequestFields {
  readonly Key: string;
  /** Undefined for what has none. */
  readonly Body: Uint8Array | undefined;
  readonly Metadata: Readonly<Record<string, string>>;
  readonly VersionId: string | undefined;
}

const METADATA = "x-amz-meta-";
/** Headers that are made anew for each object. */
const OWN: ReadonlySet<string> = new Set([
  "content-length",
  "x-amz-date",
  "x-amz-content-sha256",
  "x-amz-checksum-crc32",
  "x-amz-security-token",
  "authorization",
  "amz-sdk-invocation-id",
  "amz-sdk-request",
]);
/** Headers that hold for the next objects as well: those of SSE-C may hold another key for each. */
const KEPT =
  /^(host|user-agent|content-type|content-language|content-disposition|content-encoding|cache-control|x-amz-(user-agent|acl|storage-class|tagging|request-payer|expected-bucket-owner|sdk-checksum-algorithm|server-side-encryption(-aws-kms-key-id|-bucket-key-enabled|-context)?))$/;
const DIGEST = /^([0-9a-f]{64}|UNSIGNED-PAYLOAD)$/;
const CREDENTIAL = /^AWS4-HMAC-SHA256 Credential=[^,]*\/\d{8}\/([^/,]+)\/([^/,]+)\/aws4_request,/;
/** Text that is signed as it stands. */
const PLAIN_VALUE = /^[\x21-\x7e]+( [\x21-\x7e]+)*$/;
const PLAIN_NAME = /^[a-z0-9._-]+$/;
const PLAIN_VERSION = /^[\w.~-]+$/;

/** How requests like one that went well are made. */
export class RequestTemplate {
  readonly #like: DirectRequest;
  readonly #base: string;
  readonly #kept: Readonly<Record<string, string>>;
  readonly #scope: Scope;
  /** Where requests go, without the key. */
  readonly url: URL;

  private constructor(
    like: DirectRequest,
    base: string,
    kept: Readonly<Record<string, string>>,
    scope: Scope,
  ) {
    this.#like = like;
    this.#base = base;
    this.#kept = kept;
    this.#scope = scope;
    const port = like.port === undefined ? "" : `:${like.port}`;
    this.url = new URL(`${like.protocol}//${like.hostname}${port}${base}`);
  }

  /** From a request as it left, for an object with this key; undefined if it is of another kind than is known here. */
  static from(request: unknown, key: string): RequestTemplate | undefined {
    const like = request as DirectRequest;
    const path = pathOf(key);
    const isKnown =
      (like?.method === "PUT" && isBytes(like.body)) || (like?.method === "GET" && like.body === undefined);
    if (!isKnown || path === undefined || !like.path.endsWith(path)) return undefined;
    const { versionId: _, ...query } = like.query ?? {};
    if (Object.keys(query).some((name) => name !== "x-id")) return undefined;
    const headers = lowered(like.headers);
    const scope = CREDENTIAL.exec(headers.authorization ?? "");
    if (
      scope?.[1] === undefined ||
      scope[2] === undefined ||
      !DIGEST.test(headers["x-amz-content-sha256"] ?? "")
    )
      return undefined;
    const kept: Record<string, string> = {};
    for (const [name, value] of Object.entries(headers)) {
      if (OWN.has(name) || name.startsWith(METADATA)) continue;
      if (!KEPT.test(name) || !PLAIN_VALUE.test(value)) return undefined;
      kept[name] = value;
    }
    const base = like.path.slice(0, -path.length);
    return new RequestTemplate({ ...like, query, headers }, base, kept, {
      region: scope[1],
      service: scope[2],
    });
  }

  /** Signed; undefined for what the SDK must send, because it has to be encoded. */
  request(
    { Key, Body, Metadata, VersionId }: RequestFields,
    signer: Signer & { readonly sessionToken?: string | undefined },
    now: Date,
  ): DirectRequest | undefined {
    const path = pathOf(Key);
    if (path === undefined || (VersionId !== undefined && !PLAIN_VERSION.test(VersionId))) return undefined;
    const { headers: like, query: others } = this.#like;
    const headers: Record<string, string> = { ...this.#kept };
    for (const name in Metadata) {
      const value = Metadata[name] ?? "";
      if (!PLAIN_NAME.test(name) || !PLAIN_VALUE.test(value)) return undefined;
      headers[`${METADATA}${name}`] = value;
    }
    headers["x-amz-date"] = amzDate(now);
    headers["x-amz-content-sha256"] =
      like["x-amz-content-sha256"] === UNSIGNED ? UNSIGNED : digestOf(Body ?? NOTHING);
    if (Body !== undefined) {
      headers["content-length"] = String(Body.length);
      if (like["x-amz-checksum-crc32"] !== undefined) headers["x-amz-checksum-crc32"] = crc32Of(Body);
    }
    if (signer.sessionToken !== undefined) headers["x-amz-security-token"] = signer.sessionToken;
    const query = VersionId === undefined ? others : { ...others, versionId: VersionId };
    const request = { ...this.#like, path: this.#base + path, query, headers, body: Body };
    headers.authorization = authorizationOf(request, signer, this.#scope);
    return request;
  }
}

const UNSIGNED = "UNSIGNED-PAYLOAD";
const NOTHING = new Uint8Array(0);

function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function crc32Of(bytes: Uint8Array): string {
  const sum = Buffer.allocUnsafe(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString("base64");
}

/** The end of the path that names a key; undefined for keys in which something on the way might see a path. */
function pathOf(key: string): string | undefined {
  const names = key.split("/");
  if (
    names.some(
      (name, at) => name === "." || name === ".." || (name === "" && (at === 0 || at < names.length - 1)),
    )
  )
    return undefined;
  return `/${names.map(encodeName).join("/")}`;
}

function encodeName(name: string): string {
  return encodeURIComponent(name).replace(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function lowered(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
}
