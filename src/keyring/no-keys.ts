// The keyring of commands that describe objects and open none.
import type { Keyring } from "./keyring.ts";

const refuse = (): never => {
  throw new Error("internal error: nothing is opened to be described");
};
export const noKeys: Keyring = { generateDataKey: refuse, wrapDataKey: refuse, unwrapDataKey: refuse };
