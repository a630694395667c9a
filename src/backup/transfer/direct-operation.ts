// What tells the operations apart that can go past the SDK: which inputs go, and what their answers must be.
import type { RequestFields } from "./request-template.ts";
import type { DirectResponse } from "./short-stack.ts";

/** An operation that can go past the SDK. */
export interface DirectOperation {
  /** As the context of a command has it. */
  readonly commandName: string;
  /** What all inputs of a kind have in common; undefined for those that do not go this way. */
  kindOf(input: Readonly<Record<string, unknown>>): string | undefined;
  /** What belongs to one object. */
  fieldsOf(input: Readonly<Record<string, unknown>>): RequestFields;
  /** @throws BadAnswer, ToSdk; then nobody needs the body */
  outputOf(response: DirectResponse): Promise<Record<string, unknown>>;
  /** Whether the SDK would come to the same error. */
  isFinal(error: unknown): boolean;
  /** Whether further requests follow from one: they go the way of the SDK. Else all of it goes there. */
  readonly goesOn: boolean;
}

/** What only the SDK can send or read. */
export class ToSdk extends Error {
  /** Whether it is so of this object, and need not be of the next. */
  readonly isOfObject: boolean;
  constructor(message: string, what?: "of the object") {
    super(message);
    this.isOfObject = what !== undefined;
  }
}

/** An answer that does not say that all went well. */
export class BadAnswer extends Error {
  readonly $metadata: { readonly httpStatusCode: number };
  constructor(status: number) {
    super(`answered with ${status}`);
    this.$metadata = { httpStatusCode: status };
  }
}
