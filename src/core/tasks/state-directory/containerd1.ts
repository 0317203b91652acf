import { readdirSync } from "node:fs";

/** What containerd 1.x names its directories after: its plug-ins. */
export const PLUGIN = "io.containerd.";

/** What shows that a directory is containerd 1.x's; undefined when nothing does. Throws a system error. */
export function directoryOfContainerd1(directory: string): string | undefined {
  return readdirSync(directory).find((name) => name.startsWith(PLUGIN));
}
