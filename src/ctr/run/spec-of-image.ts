import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { ImageDetails, Spec } from "../../client/index.js";

export interface RunFlags {
  tty?: boolean;
  env?: string[];
  user?: string;
  workdir?: string;
  entrypoint?: string;
  mount?: string[];
  readOnly?: boolean;
  network: "none" | "host";
}

/** As Docker has it: what images are made for. */
const CAPABILITIES =
  "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split(
    " ",
  );

/** With the host's network, its names. */
const NAMES = ["/etc/resolv.conf", "/etc/hosts"];

/**
 * The specification of a container of an image.
 * @param rootfs where its files are to be seen while this is made: for users, and places of mounts
 * @throws Error that says what is missing; what the client library says of wrong values
 */
export async function specOfImage(
  { config, name }: ImageDetails,
  args: readonly string[],
  flags: RunFlags,
  id: string,
  rootfs: string,
): Promise<Spec> {
  const { buildSpec } = await import("../../client/index.js");
  const entrypoint = flags.entrypoint === undefined ? config.entrypoint : [flags.entrypoint];
  // What is given in place of the image's program has arguments of its own.
  const rest = args.length > 0 || flags.entrypoint !== undefined ? args : config.cmd;
  const command = [...entrypoint, ...rest];
  if (command.length === 0) throw new Error(`image ${name} names no command: give one, ctr run ${name} COMMAND`);
  const user = flags.user || config.user;
  const mounts = (flags.mount ?? []).map(mountOf);
  return buildSpec({
    rootfs,
    args: command,
    env: environment([...config.env, ...(flags.env ?? [])]),
    ...(user !== "" && { user }),
    hostname: id,
    network: flags.network,
    readOnly: flags.readOnly ?? false,
    terminal: flags.tty ?? false,
    capabilities: CAPABILITIES,
    noNewPrivileges: false,
    customize(spec) {
      // A runtime makes it where it is missing, which harms nobody: the files are the container's own.
      spec.process.cwd = flags.workdir || config.workingDir || "/";
      spec.root.path = "rootfs";
      // The image has a /tmp of its own.
      spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/tmp");
      // A place that is missing is made as well.
      spec.mounts.push(...mounts);
      if (flags.network !== "host") return;
      for (const file of NAMES)
        if (existsSync(file))
          spec.mounts.push({ destination: file, type: "bind", source: file, options: ["rbind", "ro"] });
    },
  });
}

function environment(variables: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    variables.map((variable) => {
      const equals = variable.indexOf("=");
      if (equals < 1) throw new Error(`environment variable "${variable}" has to be KEY=value`);
      return [variable.slice(0, equals), variable.slice(equals + 1)];
    }),
  );
}

function mountOf(text: string): Spec["mounts"][number] {
  const [source = "", destination = "", access = "rw", ...more] = text.split(":");
  if (source === "" || !destination.startsWith("/") || more.length > 0 || (access !== "ro" && access !== "rw"))
    throw new Error(
      `--mount "${text}" has to be SOURCE:DESTINATION or SOURCE:DESTINATION:ro, DESTINATION an absolute path`,
    );
  return { destination, type: "bind", source: resolve(source), options: ["rbind", access] };
}
