import { type Client, type ClientOptions, clientChecks } from "./client.js";
import { connect } from "./connect.js";
import { anyText, type Checks, checkOptions } from "./options/option-checks.js";

/** Where the daemon is, for a call that makes its own connection. */
export interface RunTarget extends ClientOptions {
  /** As {@link connect} takes it. */
  address?: string | undefined;
}

const targetChecks: Checks<RunTarget> = { ...clientChecks, address: anyText };

/** Makes a call over a connection of its own; the call gets the options that are not about that. @throws what the call throws */
export async function overOwnConnection<Options extends object, Result>(
  options: Options & RunTarget,
  checks: Checks<Options>,
  call: (client: Client, options: Options) => Promise<Result>,
): Promise<Result> {
  checkOptions<Options & RunTarget>(options, { ...checks, ...targetChecks } as Checks<Options & RunTarget>);
  const isTarget = (name: string) => Object.hasOwn(targetChecks, name);
  const entries = Object.entries(options);
  const { address, ...target }: RunTarget = Object.fromEntries(entries.filter(([name]) => isTarget(name)));
  const rest = Object.fromEntries(entries.filter(([name]) => !isTarget(name))) as Options;
  await using client = connect(address, target);
  // Awaited here, while the client is open.
  return await call(client, rest);
}
