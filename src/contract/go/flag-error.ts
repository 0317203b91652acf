/** A command line that cannot be understood; the message is one line for the user and quotes what is wrong. */
export class FlagError extends Error {
  override name = "FlagError";

  /** @param undefinedFlag the flag's name without dashes, when it is one that there is not */
  constructor(
    message: string,
    readonly undefinedFlag?: string,
  ) {
    super(message);
  }
}
