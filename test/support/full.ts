// `npm run test:full`: tests that try every case of a large table instead of a sample of it.

/** Whether every case is wanted. */
export const FULL: boolean = process.env.FRAMESEAL_TEST_MODE === "full";
