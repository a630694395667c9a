// A client of AWS KMS that answers by itself, and whose data keys leave no trace but what it gives out: wrapped ones are
// masked, and nobody else knows the mask.
import { randomFillSync } from "node:crypto";
import type { Watch } from "./watch.ts";

const keyId = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555";

export const answeringClient = {
  keyId,
  make(watch: Watch) {
    const mask = randomFillSync(new Uint8Array(new ArrayBuffer(32)));
    watch.take(); // the mask is no data key
    const masked = (bytes: Uint8Array): Uint8Array => {
      const result = new Uint8Array(new ArrayBuffer(32));
      for (let i = 0; i < 32; i++) result[i] = (bytes[i] as number) ^ (mask[i] as number);
      return result;
    };
    return {
      config: {},
      async send(command: { readonly input: { readonly CiphertextBlob?: Uint8Array } }) {
        const { CiphertextBlob } = command.input;
        if (CiphertextBlob !== undefined) return { Plaintext: masked(CiphertextBlob), KeyId: keyId };
        const Plaintext = randomFillSync(new Uint8Array(new ArrayBuffer(32)));
        return { Plaintext, CiphertextBlob: masked(Plaintext), KeyId: keyId };
      },
    } as never;
  },
};
