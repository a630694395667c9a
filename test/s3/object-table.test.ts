// Lengths × ways to write × ways to read on two servers in this process; `npm run test:integration` has the third.
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkObject, describeCounts, tableLengths, writes } from "../support/object-table.ts";
import { S3Server } from "../support/s3-server.ts";

const Bucket = "bucket";
interface Running {
  readonly client: S3Client;
  stop(): Promise<void>;
}
const servers: Readonly<Record<string, () => Promise<Running>>> = {
  "strict server": async () => {
    const server = await S3Server.start();
    return { client: server.client(), stop: () => server[Symbol.asyncDispose]() };
  },
  fauxqs: async () => {
    const server = await startFauxqs({ port: 0, logger: false });
    const client = new S3Client({
      endpoint: `http://127.0.0.1:${server.port}`,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
    });
    return {
      client,
      stop: async () => {
        client.destroy();
        await server.stop();
      },
    };
  },
};

describe.each(Object.keys(servers))("%s", (name) => {
  const counts = { objects: 0, reads: 0, openedByPeer: 0 };
  let running: Running;
  beforeAll(async () => {
    running = (await servers[name]?.()) as Running;
    await running.client.send(new CreateBucketCommand({ Bucket }));
  });
  afterAll(async () => {
    await running.stop();
    console.log(describeCounts(name, counts));
  });

  test.each(tableLengths.flatMap((length) => Object.keys(writes).map((way) => [length, way] as const)))(
    "%i bytes, %s",
    { timeout: 120_000 },
    async (length, way) => {
      await checkObject(running.client, Bucket, way, length, counts);
      expect(counts.reads).toBe(counts.objects * 41);
    },
  );
});
