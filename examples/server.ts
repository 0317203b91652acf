// A server with a port of the host's, and its next version, which is handed that port while it is asked. Pass an image with busybox.
// Run: node examples/server.ts alpine:3.20
import { connect } from "containerd-ts";

const [image = "alpine:3.20"] = process.argv.slice(2);
const client = connect();

function start(name: string, text: string, ports: string[] = []) {
  const serve = `mkdir -p /tmp/www; echo ${text} >/tmp/www/index.html; exec httpd -f -p 80 -h /tmp/www`;
  const args = ["sh", "-c", serve];
  // It resolves when the server answers; "owned": it goes with this program, however that ends.
  return client.containers.start({
    image,
    name,
    args,
    ports,
    owned: true,
    network: "bridge",
    waitFor: { http: "/", port: 80 },
  });
}

try {
  const first = await start("version-1", "version 1", ["127.0.0.1::80"]);
  const url = `http://127.0.0.1:${await first.port(80)}/`;
  const ask = async () => (await (await fetch(url)).text()).trim();
  console.log(await ask());
  const second = await start("version-2", "version 2");
  await client.publish.move(first, second);
  console.log(await ask());
  await Promise.all([first.remove({ force: true }), second.remove({ force: true })]);
} finally {
  client.close();
}
