/** Images of real servers: Debian's programs, which scripts/setup --tests unpacks privately, with the libraries that they need. */
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Client } from "../../src/client/index.js";
import { serverPackage } from "./paths.js";
import { directoryPrefix } from "./run-name.js";
import { base, directory, file, ImageLayout, type LayerEntry } from "./test-images.js";

export type Server = "redis-server" | "nginx";

const PROGRAMS: Record<Server, string> = { "redis-server": "usr/bin/redis-server", nginx: "usr/sbin/nginx" };

/** One worker, in the foreground, that says what it is at, and hands /up/ to the server that is called "up". */
const nginxConf = (version: string) => `
daemon off;
user root root;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
worker_processes 1;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server {
    listen 80;
    location / { return 200 "${version}\\n"; }
    include /etc/nginx/more/*.conf;
  }
}
`;

/** What is in an image besides busybox, and its configuration. */
const PARTS: Record<Server, (version: string) => { entries: LayerEntry[]; config: Record<string, unknown> }> = {
  "redis-server": () => ({
    entries: [directory("data", { mode: 0o777 })],
    config: {
      Cmd: ["/usr/bin/redis-server", "--save", "", "--protected-mode", "no", "--dir", "/data"],
      ExposedPorts: { "6379/tcp": {} },
      Volumes: { "/data": {} },
      WorkingDir: "/data",
    },
  }),
  nginx: (version) => ({
    entries: [
      ...["etc/nginx", "etc/nginx/more", "var/log", "var/log/nginx"].map((name) => directory(name)),
      file("etc/nginx/nginx.conf", nginxConf(version)),
    ],
    config: {
      Cmd: ["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf"],
      ExposedPorts: { "80/tcp": {} },
      StopSignal: "SIGQUIT",
    },
  }),
};

/** Whether the set-up could have it. */
export function hasServer(server: Server): boolean {
  return serverPackage(server) !== undefined;
}

/** Makes an image of a server, with a shell, known to a daemon. @param version what nginx answers */
export async function importServer(client: Client, server: Server, name: string, version = "1"): Promise<void> {
  const root = serverPackage(server)!;
  const { entries, config } = PARTS[server](version);
  const dir = mkdtempSync(directoryPrefix());
  try {
    const layout = new ImageLayout(join(dir, "layout"));
    const layers = [await layout.layer([...base(), ...entries, ...programWithLibraries(root, PROGRAMS[server])])];
    const image = layout.image({ layers, config: { Env: ["PATH=/usr/sbin:/usr/bin:/bin"], ...config } });
    layout.name(image.manifest, name);
    const archive = join(dir, "image.tar");
    await layout.archive(archive);
    await client.images.import(createReadStream(archive), { name });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A program of an unpacked package and what its loader says that it needs, where these look for each other. */
function programWithLibraries(root: string, program: string): LayerEntry[] {
  const machine = execFileSync("uname", ["-m"], { encoding: "utf8" }).trim();
  const libraries = ["lib", "usr/lib"].map((parent) => join(root, parent, `${machine}-linux-gnu`)).filter(existsSync);
  const loaders = ["lib64", "lib", "usr/lib64", "usr/lib"].flatMap((parent) => {
    const path = join(root, parent);
    if (!existsSync(path)) return [];
    return readdirSync(path)
      .filter((name) => name.startsWith("ld-linux"))
      .map((name) => join(path, name));
  });
  const loader = loaders[0];
  if (loader === undefined) throw new Error(`${root} has no loader`);
  const list = execFileSync(loader, ["--library-path", libraries.join(":"), "--list", join(root, program)], {
    encoding: "utf8",
  });
  const needed = [...list.matchAll(/=> (\/\S+)/g)].map(([, path]) => path!);
  const target = `usr/lib/${machine}-linux-gnu`;
  const loaderAt = `lib64/${loader.split("/").at(-1)}`;
  const names = new Map(needed.map((path) => [`${target}/${path.split("/").at(-1)}`, path]));
  // Who the servers run as, and names of hosts, are looked up by libraries that nothing names.
  for (const directory of libraries)
    for (const name of readdirSync(directory))
      if (/^libnss_(files|dns)\.so\.2$/.test(name)) names.set(`${target}/${name}`, join(directory, name));
  const programFile = (name: string, path: string) => file(name, readFileSync(realpathSync(path)), { mode: 0o755 });
  return [
    ...[...parents(program), "lib64", "usr/lib", target].map((name) => directory(name)),
    programFile(loaderAt, loader),
    programFile(program, join(root, program)),
    ...[...names].map(([name, path]) => programFile(name, path)),
  ];
}

function parents(path: string): string[] {
  const parent = dirname(path);
  return parent === "." ? [] : [...parents(parent), parent];
}
