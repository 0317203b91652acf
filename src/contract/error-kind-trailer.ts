/** The trailer of a failed call of the engine that says what has gone wrong, as the client library's `kind` does. */
export const ERROR_KIND = "containerdts-error-kind";
