// Rows of what says where services are.
import { aws, files, line, type Row, row, withKms } from "../../support/option-rows.ts";

export const rows: readonly Row[] = [
  // Services.
  row(aws, "--endpoint {s3}", /^request .*\/\/127\.0\.0\.1:/m, {
    line: (command) =>
      `${line(command, files.includes(command) ? { key: "--kms {kmsKey}", of: "kms" } : {}).replace(" --endpoint {s3}", "")} --connect-timeout 1`,
  }),
  row(aws, "--region eu-north-1", /\/eu-north-1\/(s3|kms)\//, { line: withKms }),
  row(aws, "--profile other", /Credential=OTHER/, { line: withKms }),
  row(aws, "--connect-timeout 77", /connect 77000 /, { line: withKms }),
  row(aws, "--read-timeout 77", /read 77000$/m, { line: withKms }),
  row(aws, "--timeout 7h", /^timer 25200000$/m, { line: withKms }),
];
