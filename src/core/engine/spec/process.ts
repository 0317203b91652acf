import { capabilitiesOf, setsOf } from "./capabilities.js";
import { checkArgs, overEnvironment, withDefaults } from "./command.js";
import type { HostFacts } from "./host-facts.js";
import { absolutePath } from "./invalid-option.js";
import type { OciProcess, OciSpec } from "./oci-spec.js";
import type { ResolvedUser } from "./user.js";

/** What a caller wishes of one more process in a container. */
export interface ExecWishes {
  args: readonly string[];
  /** `NAME=value` over the container's; `NAME` alone has none. */
  env: readonly string[];
  /** Undefined: the container's own. */
  user?: ResolvedUser | undefined;
  /** Absolute; "" is the container's. */
  workdir: string;
  tty: boolean;
  /** With every capability that the daemon has. */
  privileged: boolean;
}

/**
 * One more process in a container that was started with this spec.
 * @throws Failure (invalid-argument)
 */
export function processOf(
  { process }: Pick<OciSpec, "process">,
  { args, env, user, workdir, tty, privileged }: ExecWishes,
  host: Pick<HostFacts, "capabilities">,
): OciProcess {
  checkArgs("args", args);
  const known = process.capabilities.bounding;
  const bounding = privileged ? capabilitiesOf({ privileged, capAdd: [], capDrop: [] }, host.capabilities) : known;
  const uid = user?.uid ?? process.user.uid;
  // The home directory that a spec begins with is of the user whom that was made for; what an image or a caller has said comes later.
  const inherited = user !== undefined && process.env[0]?.startsWith("HOME=") ? process.env.slice(1) : process.env;
  return {
    ...process,
    terminal: tty,
    args: [...args],
    env: withDefaults(overEnvironment("env", inherited, env), { tty, home: user?.home }),
    cwd: workdir === "" ? process.cwd : absolutePath("workdir", workdir),
    ...(user && {
      user: {
        uid: user.uid,
        gid: user.gid,
        ...(user.additionalGids.length > 0 && { additionalGids: [...user.additionalGids] }),
      },
    }),
    capabilities: setsOf(bounding, uid),
  };
}
