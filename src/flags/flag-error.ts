/** A command line that cannot be understood; the message is one line for the user and quotes what is wrong. */
export class FlagError extends Error {
  override name = "FlagError";
}
