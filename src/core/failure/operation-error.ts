/**
 * What kind of failure an operation ended with. The api layer turns it into a gRPC status; nothing below it knows gRPC.
 */
export type FailureKind =
  | "already-exists"
  | "cancelled"
  | "deadline-exceeded"
  | "failed-precondition"
  | "internal"
  | "invalid-argument"
  | "not-found"
  | "unavailable";

/** An operation's failure. The message goes to the client as it is: old clients match on its words. */
export class OperationError extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "OperationError";
    this.kind = kind;
  }
}
