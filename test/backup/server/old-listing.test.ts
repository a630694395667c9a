// Listings of servers that know only the first kind, page by page, with and without delimiters.
import * as sdk from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { withOldListing } from "../../../src/backup/server/old-listing.ts";
import { S3Server } from "../../support/s3-server.ts";

const keys = ["a", "b c", "d/1", "d/2", "e&f", "g+h", "ü"];

async function listed(client: sdk.S3Client, more: Partial<sdk.ListObjectsV2CommandInput>): Promise<string[]> {
  const found: string[] = [];
  let ContinuationToken: string | undefined;
  do {
    const page: sdk.ListObjectsV2CommandOutput = await client.send(
      new sdk.ListObjectsV2Command({ Bucket: "b", MaxKeys: 2, ...more, ContinuationToken }),
    );
    const names = [...(page.Contents ?? []), ...(page.CommonPrefixes ?? [])].map(
      (each) => (each as { Key?: string }).Key ?? (each as { Prefix?: string }).Prefix ?? "",
    );
    expect(page.KeyCount).toBe(names.length);
    found.push(
      ...names.map((name) =>
        more.EncodingType === "url" ? decodeURIComponent(name.replaceAll("+", " ")) : name,
      ),
    );
    ContinuationToken = page.NextContinuationToken;
    expect(ContinuationToken !== undefined).toBe(page.IsTruncated === true);
  } while (ContinuationToken !== undefined && found.length < 100);
  return found;
}

test.each([
  ["refuses the second kind", false],
  ["takes it for the first", true],
])("a server that %s", async (_, isDeaf) => {
  await using server = await S3Server.start();
  const plain = server.client();
  await plain.send(new sdk.CreateBucketCommand({ Bucket: "b" }));
  for (const Key of keys) await plain.send(new sdk.PutObjectCommand({ Bucket: "b", Key, Body: "x" }));
  const client = withOldListing(sdk, plain);
  const modern = await listed(client, {});
  expect(modern.sort()).toEqual([...keys].sort());
  const first = server.calls.length;
  for (const more of [{}, { EncodingType: "url" as const }]) {
    const old = withOldListing(sdk, plain);
    if (isDeaf) server.kind = "deaf-to-listings";
    else server.kind = "gateway-like";
    expect((await listed(old, more)).sort()).toEqual([...keys].sort());
    expect((await listed(old, { ...more, StartAfter: "d/1" })).sort()).toEqual(
      keys.filter((key) => key > "d/1").sort(),
    );
    expect((await listed(old, { ...more, Delimiter: "/" })).sort()).toEqual(
      ["a", "b c", "d/", "e&f", "g+h", "ü"].sort(),
    );
  }
  const asked = server.calls.slice(first).filter(({ query }) => query.has("list-type"));
  expect(asked.length).toBe(2); // once for each client
});
