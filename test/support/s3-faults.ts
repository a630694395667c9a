// What can go wrong with one call to the strict S3 server, on its way in and on its way out.
import type { ServerResponse } from "node:http";
import type { Answer } from "./s3-error.ts";
import type { S3Call } from "./s3-objects.ts";

/** A fault; with `after`, the call has taken effect before. */
export type S3Fault =
  /** An error of S3. */
  | {
      readonly kind: "error";
      readonly status: number;
      readonly code: string;
      readonly after?: boolean;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Hangs up before it answers. */
  | { readonly kind: "reset"; readonly after?: boolean }
  /** Hangs up, and nobody listens for a while. */
  | { readonly kind: "refuse"; readonly ms: number }
  /** Hangs up while the body of the call still comes. */
  | { readonly kind: "reset-request"; readonly at: number }
  /** Says nothing, for a while or for ever. */
  | { readonly kind: "stall"; readonly ms?: number; readonly after?: boolean }
  /** Says that all went well, with an error in the body; with `instead`, nothing has taken effect. */
  | { readonly kind: "error200"; readonly instead?: boolean }
  /** A clock that is off by a day, in the answer too. */
  | { readonly kind: "skewed" }
  | AnswerFault;

/** What goes wrong with an answer; the call has taken effect. */
export type AnswerFault =
  /** Headers, and then the connection breaks. */
  | { readonly kind: "reset-headers" }
  /** Breaks after some bytes of the body. */
  | { readonly kind: "cut"; readonly at: number }
  /** Ends the connection in good order after some bytes. */
  | { readonly kind: "end"; readonly at: number }
  /** Says nothing more after some bytes. */
  | { readonly kind: "stall-body"; readonly at: number }
  /** A few bytes at a time. */
  | { readonly kind: "drip"; readonly pieces: number; readonly ms: number }
  /** Lacks its last bytes, and says a length that fits. */
  | { readonly kind: "short"; readonly by: number }
  /** Has more bytes at its end, and says a length that fits. */
  | { readonly kind: "extra"; readonly by: number }
  /** Has more bytes at its end than it says. */
  | { readonly kind: "surplus"; readonly by: number }
  | { readonly kind: "flip"; readonly at: number }
  /** Another part of the object than was asked for; told as it is, or told to be what was asked for. */
  | { readonly kind: "other-range"; readonly told: "truly" | "falsely" }
  /** Other headers than are right, or without some; and then perhaps the connection breaks. */
  | {
      readonly kind: "headers";
      readonly change: Readonly<Record<string, string | undefined>>;
      readonly cutAt?: number;
    }
  /** Another ETag. */
  | { readonly kind: "etag" };

/** The call that is answered in place of one that meets `other-range`. */
export function shiftedRange(call: S3Call): S3Call {
  const match = /^bytes=(\d+)-(\d+)$/.exec(String(call.headers.range ?? ""));
  if (match === null) return call;
  const shift = Number(match[1]) >= 16 ? -16 : 16;
  const range = `bytes=${Number(match[1]) + shift}-${Number(match[2]) + shift}`;
  return { ...call, headers: { ...call.headers, range } };
}

/** Sends an answer as it is, or with what goes wrong with it. */
export function sendAnswer(
  response: ServerResponse,
  call: S3Call,
  { status = 200, headers = {}, body = "" }: Answer,
  fault: S3Fault | undefined,
): void {
  let bytes = Buffer.from(body);
  const told: Record<string, string> = { "x-amz-request-id": "1", ...headers };
  const socket = response.socket;
  const isEmpty = bytes.length === 0;
  if (fault?.kind === "flip" && bytes.length > fault.at) bytes[fault.at] = (bytes[fault.at] ?? 0) ^ 1;
  if (fault?.kind === "short" && !isEmpty) bytes = bytes.subarray(0, -fault.by);
  if (fault?.kind === "extra" && !isEmpty) bytes = Buffer.concat([bytes, Buffer.alloc(fault.by, 7)]);
  told["content-length"] ??= String(bytes.length);
  if (fault?.kind === "surplus" && !isEmpty) bytes = Buffer.concat([bytes, Buffer.alloc(fault.by, 7)]);
  if (fault?.kind === "etag" && told.etag !== undefined) told.etag = `"${"0".repeat(32)}"`;
  if (fault?.kind === "skewed") told.date = new Date(Date.now() + 86_400_000).toUTCString();
  const asked = /^bytes=(\d+)-(\d+)$/.exec(String(call.headers.range ?? ""));
  if (fault?.kind === "other-range" && fault.told === "falsely" && told["content-range"] !== undefined)
    told["content-range"] =
      `bytes ${asked?.[1]}-${asked?.[2]}${told["content-range"].replace(/^.*(?=\/)/, "")}`;
  if (fault?.kind === "error") Object.assign(told, fault.headers);
  if (fault?.kind === "headers") changeHeaders(told, fault.change);
  if (fault?.kind === "surplus") {
    // Node's server keeps to the length that it has told.
    const lines = Object.entries(told).map(([name, value]) => `${name}: ${value}\r\n`);
    socket?.write(`HTTP/1.1 ${status} OK\r\n${lines.join("")}\r\n`);
    socket?.end(call.method === "HEAD" ? "" : bytes);
    return;
  }
  response.writeHead(status, told);
  switch (fault?.kind) {
    case "reset-headers":
      response.flushHeaders();
      setTimeout(() => socket?.destroy(), 5);
      return;
    case "cut":
      response.write(bytes.subarray(0, fault.at), () => socket?.destroy());
      return;
    case "end":
      response.write(bytes.subarray(0, fault.at), () => socket?.end());
      return;
    case "headers":
      if (fault.cutAt === undefined) response.end(bytes);
      else response.write(bytes.subarray(0, fault.cutAt), () => socket?.destroy());
      return;
    case "stall-body":
      response.flushHeaders();
      response.write(bytes.subarray(0, fault.at));
      if (fault.at >= bytes.length) response.end();
      return;
    case "drip":
      void drip(response, bytes, fault);
      return;
    default:
      response.end(bytes);
  }
}

function changeHeaders(
  told: Record<string, string>,
  change: Readonly<Record<string, string | undefined>>,
): void {
  for (const [name, value] of Object.entries(change))
    if (value === undefined) delete told[name];
    else told[name] = value;
}

async function drip(
  response: ServerResponse,
  bytes: Buffer,
  { pieces, ms }: { readonly pieces: number; readonly ms: number },
): Promise<void> {
  const step = Math.max(1, Math.ceil(bytes.length / pieces));
  for (let at = 0; at < bytes.length; at += step) {
    response.write(bytes.subarray(at, at + step));
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
  response.end();
}
