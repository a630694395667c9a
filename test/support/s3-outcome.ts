// What a request to S3 came to: the whole body, or the name of its error.
import {
  GetObjectCommand,
  type GetObjectCommandInput,
  type GetObjectCommandOutput,
  type S3Client,
} from "@aws-sdk/client-s3";

/** Gets an object or a range, with all its bytes. */
export async function getObject(
  client: S3Client,
  input: GetObjectCommandInput,
): Promise<GetObjectCommandOutput & { readonly bytes: Buffer }> {
  const output = await client.send(new GetObjectCommand(input));
  return { ...output, bytes: Buffer.from((await output.Body?.transformToByteArray()) ?? []) };
}

/** Only the bytes. */
export const readObject = async (client: S3Client, input: GetObjectCommandInput): Promise<Buffer> =>
  (await getObject(client, input)).bytes;

/** The code of the error, or its name if it has none, or "accepted". */
export const outcomeOf = (request: Promise<unknown>): Promise<string> =>
  request.then(
    () => "accepted",
    (error) => error.code ?? error.name,
  );
