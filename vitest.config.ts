// `npm test`: two files at a time where there are two cores. `npm run test:full`: what has a longer form, in that form.
// Tests wait for processes and servers, so their bounds are wide.
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Files that look at FULL of test/support/full.ts. */
const longer = [
  "test/backup/kills.test.ts",
  "test/disk/calls.test.ts",
  "test/disk/publication.test.ts",
  "test/cli/limits.test.ts",
  "test/tamper/*.test.ts",
  "test/vectors/esdk.test.ts",
  "test/memory/*.test.ts",
  "test/s3/object-table.test.ts",
  "test/s3/requests/faults.test.ts",
  "test/s3/requests/reads.test.ts",
  "test/s3/requests/upload-model.test.ts",
  "test/s3/server-side/explain-policy.test.ts",
  "test/s3/single-message/objects.test.ts",
  "test/cli/faulty-servers.test.ts",
  "test/cli/from-command.test.ts",
  "test/cli/options.test.ts",
];

export default defineConfig(({ mode }) => ({
  test: {
    env: { FRAMESEAL_TEST_MODE: mode },
    include: mode === "full" ? longer : ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: availableParallelism(),
  },
}));
