/** A name that a container with `egress` may ask for, and the port that its addresses can be reached at. */
export interface AllowedName {
  /** In lower case, without a dot at its end. */
  readonly name: string;
  /** Whether it stands for all names below it, at any depth, and not for itself. */
  readonly below: boolean;
  /** Of TCP and UDP; 0: all ports. */
  readonly port: number;
}

/** What netd has to know of a container with `egress`. */
export interface NetdEgress {
  /** The daemon's table of family inet in the host's network namespace. */
  readonly table: string;
  /** What the names of the container's sets in it begin with: {@link portSet}, {@link hostSet}. */
  readonly prefix: string;
  readonly names: readonly AllowedName[];
  /** The container's own addresses: connections that an earlier owner of one has left in the host's table are forgotten. */
  readonly addresses: readonly string[];
}

/** A name that a container with `egress` has asked for. Times are in ms since the epoch. */
export interface AskedName {
  readonly name: string;
  readonly allowed: boolean;
  readonly count: number;
  /** Of the last time. */
  readonly time: number;
}

/** What netd tells of a container with `egress`. */
export interface AskedNames {
  readonly asked: readonly AskedName[];
  /** How often names were asked for that are not in the list: it has an end. */
  readonly dropped: number;
}

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
export function allowedBy(names: readonly AllowedName[], question: string): AllowedName[] {
  return names.filter(({ name, below }) => (below ? question.endsWith(`.${name}`) : question === name));
}
