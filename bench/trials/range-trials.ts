// Ranges of large messages: of a local file, and over HTTP.
import type { WorkFiles } from "../work-files.ts";
import { defaults, GiB, idOf, KiB, type Listed, lengthText, library, MiB, ours } from "./subjects.ts";

const places = [
  ["aligned", 64 * KiB, "on frames"],
  ["unaligned", 1, "at any byte"],
] as const;
const HTTP_MESSAGE_LENGTH = 64 * MiB;

export function* listRangeTrials(files: WorkFiles): Generator<Listed> {
  for (const fileLength of [GiB, 4 * GiB])
    for (const [name, step, where] of places)
      yield {
        full: fileLength > GiB,
        trial: {
          id: idOf("ranges", name, fileLength),
          group: "ranges",
          title: `Random ranges of 64 KiB of a message of ${lengthText(fileLength)} in the page cache, 8 in flight, ${where}`,
          operation: "open",
          direction: "open",
          workload: "ranges",
          unit: "ranges",
          size: 64 * KiB,
          frameLength: 64 * KiB,
          reference: "plain reads",
          place: () => files.sealed(fileLength),
          options: { ...defaults, size: 64 * KiB, chunkLength: step },
          subjects: [
            ours("our streams", "native", { inFlight: 8 }),
            ours("our streams", "node", { inFlight: 8 }),
            library("plain reads", "pass-through", { inFlight: 8 }),
          ],
        },
      };
  for (const [name, step, where] of places)
    yield {
      full: false,
      trial: {
        id: idOf("ranges", `http-${name}`),
        group: "ranges",
        title: `Random ranges of 64 KiB of a message of ${lengthText(HTTP_MESSAGE_LENGTH)} over HTTP, 8 in flight, ${where}`,
        operation: "open",
        direction: "open",
        workload: "ranges over HTTP",
        unit: "ranges",
        size: 64 * KiB,
        frameLength: 64 * KiB,
        reference: "plain requests",
        place: () => files.served(HTTP_MESSAGE_LENGTH),
        options: { ...defaults, size: 64 * KiB, chunkLength: step },
        subjects: [
          ours("our streams", "native", { inFlight: 8 }),
          library("plain requests", "pass-through", { inFlight: 8 }),
        ],
      },
    };
}
