// The S3-compatible server of the demo, in a process of its own so that the memory reported is the client's alone. It
// counts what is fetched: each message to it is answered with the GET requests and their bytes since the last one.
import http from "node:http";
import type { AddressInfo } from "node:net";
import { startFauxqs } from "fauxqs";

const store = await startFauxqs({ port: 0, logger: false });
let traffic = { requests: 0, bytes: 0 };

// In front of the store stands a proxy that only counts.
const counter = http.createServer((request, response) => {
  const { method, url, headers } = request;
  const forward = http.request(
    { host: "127.0.0.1", port: store.port, method, path: url, headers },
    (answer) => {
      if (method === "GET") {
        traffic.requests += 1;
        answer.on("data", (chunk: Buffer) => {
          traffic.bytes += chunk.length;
        });
      }
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    },
  );
  forward.on("error", () => response.destroy());
  request.pipe(forward);
});

process.on("message", () => {
  process.send?.(traffic);
  traffic = { requests: 0, bytes: 0 };
});
process.on("disconnect", () => process.exit());
// Ctrl-C reaches the whole group; the client decides when the server is no longer needed.
process.on("SIGINT", () => {});
counter.listen(0, "127.0.0.1", () => {
  process.send?.({ endpoint: `http://127.0.0.1:${(counter.address() as AddressInfo).port}` });
});
