/** What daemon and netd agree on about containers with `egress`, beside the messages. */

/** The set of addresses with ports. */
export function portSet(prefix: string, family: 4 | 6): string {
  return `${prefix}-ports${family}`;
}

/** The set of addresses all of whose ports can be reached. */
export function hostSet(prefix: string, family: 4 | 6): string {
  return `${prefix}-hosts${family}`;
}

/**
 * Those of the names that a question is about; none: it is not to be asked.
 *
 * @param question in lower case, without a dot at its end
 */
export function allowedBy<Name extends { readonly name: string; readonly below: boolean }>(
  names: readonly Name[],
  question: string,
): Name[] {
  return names.filter(({ name, below }) => (below ? question.endsWith(`.${name}`) : question === name));
}
