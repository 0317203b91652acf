/** What a host may be asked. */
export type Capability = "pull" | "resolve" | "push";

export const ALL_CAPABILITIES: readonly Capability[] = ["pull", "resolve", "push"];
