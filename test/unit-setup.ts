/** Once for a run of the unit tests. */
import { freshBuild } from "./harness/fresh-build.js";

export function setup(): void {
  freshBuild("wire types");
}
