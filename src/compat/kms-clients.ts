// The peer's functions that give KMS clients by region. `@aws-sdk/client-kms` is loaded when the first call is made.
import { callback, listOf, text } from "../check-options.ts";
import type { KmsClient } from "../keyring/kms-keyring.ts";

/** Gives the client of a region (an empty string for keys without one), or false if that region must not be asked. */
export type KmsClientSupplier = (region: string) => KmsClient | false | undefined;

/** A client's class, and what its constructor takes. */
export type KmsClientClass<Config> = new (config: Config) => KmsClient;

/** A supplier that makes clients of a class of the caller. */
export function getClient<Config extends object>(
  Client: KmsClientClass<Config>,
  defaultConfig?: Config,
): KmsClientSupplier {
  callback("Client", Client);
  return (region) => new Client({ ...defaultConfig, ...(region === "" ? {} : { region }) } as Config);
}

/** A supplier that asks only the regions it is told. */
export function limitRegions(regions: readonly string[], supplier: KmsClientSupplier): KmsClientSupplier {
  checkRegions(regions);
  callback("supplier", supplier);
  return (region) => regions.includes(region) && supplier(region);
}

/** A supplier that asks all but the regions it is told. */
export function excludeRegions(regions: readonly string[], supplier: KmsClientSupplier): KmsClientSupplier {
  checkRegions(regions);
  callback("supplier", supplier);
  return (region) => !regions.includes(region) && supplier(region);
}

/** A supplier that makes one client a region. */
export function cacheClients(supplier: KmsClientSupplier): KmsClientSupplier {
  callback("supplier", supplier);
  const clients = new Map<string, ReturnType<KmsClientSupplier>>();
  return (region) => {
    if (!clients.has(region)) clients.set(region, supplier(region));
    return clients.get(region);
  };
}

function checkRegions(regions: readonly string[]): void {
  listOf(text)("regions", regions);
}

/** A client of `@aws-sdk/client-kms` that is made when it is first used. */
export function getKmsClient(region: string): KmsClient & { readonly config: { region(): Promise<string> } } {
  let made: Promise<import("@aws-sdk/client-kms").KMSClient> | undefined;
  const client = async (): Promise<import("@aws-sdk/client-kms").KMSClient> => {
    const { KMSClient } = await import("@aws-sdk/client-kms");
    return new KMSClient(region === "" ? {} : { region });
  };
  const load = (): Promise<import("@aws-sdk/client-kms").KMSClient> => {
    made ??= client();
    return made;
  };
  const send = async (...call: Parameters<KmsClient["send"]>): Promise<unknown> =>
    (await load()).send(...call);
  return {
    send: send as KmsClient["send"],
    config: { region: async () => (await load()).config.region() },
  };
}

/** The default supplier: `getKmsClient`, once a region. */
export const cacheKmsClients: KmsClientSupplier = cacheClients(getKmsClient);
