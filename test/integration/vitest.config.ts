// `npm run test:integration`: tests against other programs, which the main run does not have.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/integration/**/*.integration.ts"], testTimeout: 120_000, hookTimeout: 60_000 },
});
