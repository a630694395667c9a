// Options of a command on a tree -> what the operation is given.
export { parseTreeAddress } from "./address.ts";
