// A command that reaches only what it is to reach, and what else it has tried:
// `node scripts/run-typescript.mjs examples/egress.ts IMAGE ALLOWED,… COMMAND [ARGUMENT…]`, where ALLOWED is `pypi.org:443`,
// `*.pythonhosted.org:443` or an address.
import { connect } from "containerd-ts";

const [image = "", allowed = "", ...command] = process.argv.slice(2);
await using client = connect();
await using container = await client.containers.start({
  image,
  args: ["sleep", "infinity"],
  init: true,
  owned: true,
  lifetime: 600_000,
  network: { egress: allowed.split(",") },
  capabilities: { drop: ["ALL"] },
});
const { stdout, stderr, status } = await container.exec(command, { timeout: 60_000 });
console.log(`${stdout}${stderr}status ${status}`);

const { attempts } = await container.egress();
for (const { name, protocol, address, port, allowed, count } of attempts)
  if (!allowed) console.log(`refused ${count} times: ${name || `${protocol} ${address} port ${port}`}`);
