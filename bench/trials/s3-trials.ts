// Transfers of objects through the AWS SDK, plain and encrypted.
import type { TransferName } from "../child-protocol.ts";
import type { Subject } from "../run-trial.ts";
import type { WorkFiles } from "../work-files.ts";
import { defaults, directions, GiB, idOf, KiB, type Listed, lengthText, MiB } from "./subjects.ts";

/** Small objects on their way at a time. */
const IN_FLIGHT = 32;

const subject = (name: string, adaptor: TransferName, inFlight = 1): Subject => ({
  name,
  kind: adaptor === "plain S3 client" ? "library" : "frameseal",
  adaptor,
  inFlight,
});

export function* listS3Trials(files: WorkFiles): Generator<Listed> {
  for (const size of [128 * MiB, GiB])
    for (const direction of directions)
      yield {
        full: size >= GiB,
        trial: {
          id: idOf("s3", direction === "seal" ? "put" : "get", size),
          group: "s3",
          title: `An object of ${lengthText(size)} ${direction === "seal" ? "uploaded" : "downloaded"} through the AWS SDK, parts of 8 MiB, server in a process beside`,
          operation: direction,
          direction,
          workload: "S3 transfers",
          unit: "bytes",
          size,
          reference: "AWS SDK alone",
          rounds: 3,
          place: () => files.store(),
          options: { ...defaults, size },
          subjects: [
            subject("frameseal, framed", "framed S3 objects"),
            subject("frameseal, S3 Encryption Client V3", "single-message S3 objects"),
            subject("AWS SDK alone", "plain S3 client"),
          ],
        },
      };
  for (const direction of directions)
    yield {
      full: false,
      trial: {
        id: idOf("s3", direction === "seal" ? "put" : "get", KiB),
        group: "s3",
        title: `Objects of ${lengthText(KiB)} ${direction === "seal" ? "uploaded" : "downloaded"} through the AWS SDK, ${IN_FLIGHT} in flight, server in a process beside`,
        operation: direction,
        direction,
        workload: "small S3 objects",
        unit: "calls",
        size: KiB,
        reference: "AWS SDK alone",
        rounds: 7,
        place: () => files.store(),
        options: { ...defaults, size: KiB },
        subjects: [
          subject("frameseal, framed", "framed S3 objects", IN_FLIGHT),
          subject("frameseal, S3 Encryption Client V3", "single-message S3 objects", IN_FLIGHT),
          subject("AWS SDK alone", "plain S3 client", IN_FLIGHT),
        ],
      },
    };
}
