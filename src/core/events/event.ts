/** Something that has happened. */
export interface Event<Topic extends string = string, Payload = unknown> {
  /** Whose container it is about; "" for those of containerd 0.2's API, which knows no namespaces. */
  namespace: string;
  /** What has happened, as containerd 1.x names it: `/tasks/exit`. */
  topic: Topic;
  /** The id of the container that it is about. */
  object: string;
  payload: Payload;
  /** Nanoseconds since the epoch; every event has another, later than those before it. */
  time: bigint;
}

/** An event before it is stored. */
export type NewEvent<E extends Event> = E extends Event ? Omit<E, "time"> : never;

/** How events are written down: a line each, with its end. */
export interface EventLines<E extends Event> {
  encode(event: E): string;
  /** Undefined for a line that is no event. */
  decode(line: string): E | undefined;
}
