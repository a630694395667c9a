// Attempts of the SDK for tests that break many requests: always three, without pauses, and without the quota by which the
// SDK gives up retrying when much has failed.
import type { S3ClientConfig } from "@aws-sdk/client-s3";

type Strategy = Exclude<NonNullable<S3ClientConfig["retryStrategy"]>, { readonly mode: string }>;

export const threeAttempts = {
  maxAttempts: 3,
  retryStrategy: {
    acquireInitialRetryToken: async () => ({ getRetryCount: () => 0, getRetryDelay: () => 0 }),
    refreshRetryTokenForRetry: async (token, error) => {
      if (error.errorType === "CLIENT_ERROR" || token.getRetryCount() >= 2)
        throw new Error("no more attempts");
      return { getRetryCount: () => token.getRetryCount() + 1, getRetryDelay: () => 0 };
    },
    recordSuccess: () => {},
  } as Strategy,
} satisfies S3ClientConfig;
