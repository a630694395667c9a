// The S3-compatible server of the demo, in a process of its own so that the memory reported is the client's alone.
// Messages: "ready" with the endpoint when it listens; "traffic" with what was fetched since the last question.
import { startS3Server } from "../support/s3-server/index.ts";

const server = await startS3Server({});
let seen = 0;

process.on("message", () => {
  const gets = server.requests.slice(seen).filter((request) => request.method === "GET");
  seen = server.requests.length;
  process.send?.({ requests: gets.length, bytes: gets.reduce((sum, request) => sum + request.responseBytes, 0) });
});
process.on("disconnect", () => void server.close());
// Ctrl-C reaches the whole group; the client decides when the server is no longer needed.
process.on("SIGINT", () => {});
process.send?.({ endpoint: server.endpoint });
