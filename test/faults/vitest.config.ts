// `npm run test:syscalls`: a sample of all failing system calls, chosen by FRAMESEAL_SEED; with `-- --mode full` every one.
import { defineConfig } from "vitest/config";

export default defineConfig(({ mode }) => ({
  test: {
    env: { FRAMESEAL_TEST_MODE: mode },
    include: ["test/faults/**/*.faults.ts"],
    testTimeout: 3 * 3600 * 1000,
    hookTimeout: 60_000,
  },
}));
