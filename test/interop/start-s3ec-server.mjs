// Starts s3ec-server.ts on PORT (8101). S3 and KMS come from the environment, as the AWS SDK reads it.
import { fileURLToPath } from "node:url";
import { KMSClient } from "@aws-sdk/client-kms";
import { S3Client } from "@aws-sdk/client-s3";
import { runnerImport } from "vite";

const { module } = await runnerImport(fileURLToPath(new URL("s3ec-server.ts", import.meta.url)));
const server = new module.S3ecTestServer(new S3Client({ forcePathStyle: true }), new KMSClient({}));
console.log(`listening on ${await server.listen(Number(process.env.PORT ?? 8101))}`);
