// The two packages under one type, so that one snippet runs on both.
import * as theirs from "@aws-crypto/client-node";
import { KMS } from "@aws-sdk/client-kms";
import { vi } from "vitest";
import * as ours from "../../src/client-node.ts";
import type { FakeKms } from "../support/fake-kms.ts";

/** What both packages export, as ours declares it. */
export type Sdk = typeof ours;
/** A package with its name. */
export type Named = readonly [name: "peer" | "ours", sdk: Sdk];

export const packages: readonly Named[] = [
  ["peer", theirs as unknown as Sdk],
  ["ours", ours],
];

/** Who writes x who reads. */
export const pairs = packages.flatMap(([writer, write]) =>
  packages.map(([reader, read]) => [writer, reader, write, read] as const),
);

/** Lets clients that are made by default find `kms`. Undone by `vi.unstubAllEnvs`. */
export function useByDefault(kms: FakeKms): void {
  vi.stubEnv("AWS_ENDPOINT_URL_KMS", kms.url);
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "none");
  vi.stubEnv("AWS_REGION", "us-west-2");
}

/** A client of `kms` with the methods the peer calls. */
export function kmsClient(kms: FakeKms, region: string): KMS {
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "none" };
  return new KMS({ region, endpoint: kms.url, credentials });
}

/** All that a stream gives. */
export async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
