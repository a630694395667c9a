// One object put or got through the AWS SDK, from memory and to nowhere: by the SDK alone and through our client.
import { Readable } from "node:stream";
import { encryptS3Client } from "#frameseal/s3/encrypt-s3-client.js";
import { Absent } from "../adaptor.ts";
import { benchKeyring } from "../adaptors/ours.ts";
import type { ChildTask } from "../child-protocol.ts";
import { importPackage } from "../packages.ts";
import type { Workload } from "../workload.ts";
import { benchBytes } from "./source.ts";

/** What is asked of a client of the SDK. */
export interface Client {
  send(command: object): Promise<{ readonly Body?: AsyncIterable<Uint8Array> }>;
  readonly middlewareStack: {
    add(middleware: (next: Handler) => Handler, options: { step: string; name: string }): void;
  };
}
type Handler = (args: object) => Promise<object>;
interface Sdk {
  readonly S3Client: new (options: object) => Client;
  readonly PutObjectCommand: new (input: object) => object;
  readonly GetObjectCommand: new (input: object) => object;
}
interface LibStorage {
  readonly Upload: new (options: object) => { done(): Promise<unknown> };
}

const MiB = 2 ** 20;
const PART_SIZE = 8 * MiB;
const PARTS_IN_FLIGHT = 4;
/** The bucket of all transfers. */
export const Bucket = "bench";

/** The SDK's client for the server at `place`, and its commands. */
export async function createPlain(
  place: string,
): Promise<Pick<Sdk, "PutObjectCommand" | "GetObjectCommand"> & { readonly plain: Client }> {
  const { S3Client, PutObjectCommand, GetObjectCommand } = await importPackage<Sdk>("@aws-sdk/client-s3");
  const plain = new S3Client({
    endpoint: place,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "bench", secretAccessKey: "bench" },
  });
  return { plain, PutObjectCommand, GetObjectCommand };
}

/** Of each round one transfer; `place` is the address of a server. */
export async function createTransfers(task: ChildTask): Promise<Workload> {
  const { place, size } = task.options;
  if (place === undefined) throw new Absent("no server");
  const { plain, PutObjectCommand, GetObjectCommand } = await createPlain(place);
  const client = clientFor(task.adaptor, plain);
  const { Upload } = await importPackage<LibStorage>("@aws-sdk/lib-storage");
  const Key = task.adaptor.replaceAll(" ", "-");
  const put = async (): Promise<void> => {
    const params = { Bucket, Key, Body: bodyOf(size) };
    // The SDK by itself sends a stream of unknown length in parts only through lib-storage.
    if (client === plain)
      await new Upload({ client, partSize: PART_SIZE, queueSize: PARTS_IN_FLIGHT, params }).done();
    else await client.send(new PutObjectCommand(params));
  };
  const get = async (): Promise<void> => {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
    if (Body === undefined) throw new Error("no body");
    let length = 0;
    for await (const chunk of Body) length += chunk.length;
    if (length !== size) throw new Error(`${length} bytes came out instead of ${size}`);
  };
  await put();
  await get();
  const none = (): never => {
    throw new Error("internal error: transfers exchange nothing");
  };
  return {
    produce: none,
    accept: none,
    async round() {
      await (task.operation === "seal" ? put() : get());
      return size;
    },
  };
}

/** The client that a subject measures. */
export function clientFor(name: string, plain: Client): Client {
  if (name === "plain S3 client") return plain;
  const format = formatOf(name);
  const options = { keyring: benchKeyring, format, partSize: PART_SIZE, uploadConcurrency: PARTS_IN_FLIGHT };
  return encryptS3Client(
    plain as unknown as Parameters<typeof encryptS3Client>[0],
    options as Parameters<typeof encryptS3Client>[1],
  ) as unknown as Client;
}

/** The format that a subject writes. */
export function formatOf(name: string): "framed" | "s3ec-v3" {
  return name === "framed S3 objects" ? "framed" : "s3ec-v3";
}

function bodyOf(size: number): Readable {
  const chunk = benchBytes(Math.min(size, MiB));
  function* chunks(): Generator<Uint8Array> {
    for (let left = size; left > 0; left -= chunk.length) yield chunk.subarray(0, left);
  }
  return Readable.from(chunks(), { objectMode: false, highWaterMark: MiB });
}
