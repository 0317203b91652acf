import { Command, InvalidArgumentError, Option } from "commander";
import { defaultAddress } from "../../contract/address.js";
import { parseGoDuration } from "../../contract/go/duration.js";
import { checkpointsCommand } from "../checkpoints/command.js";
import { containersCommand } from "../containers/command.js";
import { contentCommand } from "../content/command.js";
import {
  inspectCommand,
  killCommand,
  psCommand,
  removeCommand,
  restartCommand,
  startCommand,
  stopCommand,
} from "../engine/commands.js";
import { execCommand } from "../engine/exec-command.js";
import { eventsCommand } from "../events-command.js";
import { imagesCommand } from "../images/command.js";
import { leasesCommand } from "../leases/command.js";
import { logsCommand } from "../logs-command.js";
import { networksCommand } from "../networks/command.js";
import { replaceCommand } from "../replace-command.js";
import { runCommand } from "../run/command.js";
import { snapshotsCommand } from "../snapshots/command.js";
import { stateCommand } from "../state-command.js";
import { VERSION } from "../version.js";
import { versionCommand } from "../version-command.js";
import { volumesCommand } from "../volumes/command.js";
import { completionCommand } from "./completion-command.js";
import { addExamples } from "./example.js";

/** The whole command line of ctr. */
export function ctrProgram(): Command {
  const program = new Command("ctr")
    .description("Control a containerd daemon")
    .version(`ctr version ${VERSION}`, "-v, --version", "print the version of ctr")
    .enablePositionalOptions()
    .addOption(
      new Option("-a, --address <address>", "the daemon's, unix:///path or tcp://host:port")
        .default(defaultAddress)
        .env("CONTAINERD_ADDRESS"),
    )
    .addOption(
      new Option("--conn-timeout <duration>", "how long connecting may take").default(1000, "1s").argParser(duration),
    )
    .option("--tls-ca <file>", "authority that the certificate of a tcp:// daemon must come from (PEM)")
    .option("--tls-cert <file>", "certificate to show to a tcp:// daemon (PEM)")
    .option("--tls-key <file>", "key of that certificate (PEM)")
    .addOption(
      new Option(
        "-n, --namespace <name>",
        "the namespace of images, content, snapshots and leases, and of what runs of images",
      )
        .default("default")
        .env("CONTAINERD_NAMESPACE"),
    )
    .option("--debug", "explain errors in detail");
  for (const command of [
    checkpointsCommand(),
    completionCommand(),
    containersCommand(),
    contentCommand(),
    eventsCommand(),
    execCommand(),
    imagesCommand(),
    inspectCommand(),
    killCommand(),
    leasesCommand(),
    logsCommand(),
    networksCommand(),
    psCommand(),
    replaceCommand(),
    removeCommand(),
    restartCommand(),
    runCommand(),
    snapshotsCommand(),
    startCommand(),
    stateCommand(),
    stopCommand(),
    versionCommand(),
    volumesCommand(),
  ])
    program.addCommand(command);
  addExamples(
    program,
    "ctr containers start --attach web /bundles/web",
    "ctr containers kill web",
    "ctr images pull alpine",
    "ctr run -t alpine sh",
    "ctr run -d --name web -p 8080:80 nginx",
    "ctr exec -it web sh",
  );
  setUp(program);
  return program;
}

/** Errors are thrown, and shown by main in ctr's own form. */
function setUp(command: Command): void {
  command
    .exitOverride()
    .helpOption("-h, --help", "show this help")
    .configureOutput({ writeErr: () => {} })
    .configureHelp({ showGlobalOptions: true });
  if (command.commands.length > 0) command.helpCommand(true);
  if (command.name() !== "containers" && command.name() !== "checkpoints") command.allowExcessArguments(false);
  for (const subcommand of command.commands) setUp(subcommand);
}

function duration(text: string): number {
  const ms = parseGoDuration(text);
  if (ms <= 0) throw new InvalidArgumentError("It must be longer than 0.");
  return ms;
}
