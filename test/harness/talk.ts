/** Servers and clients in network namespaces, which say who has reached whom. */
import type { ChildProcess } from "node:child_process";
import type { NetworkNamespace } from "./network-namespace.js";
import { within } from "./wait.js";

const SERVER = `
use IO::Socket::IP; $| = 1;
my ($proto, $host, $port, $name) = @ARGV;
my @more = $proto eq "tcp" ? (Listen => 64, ReuseAddr => 1) : ();
my $s = IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Proto => $proto, @more) or die "bind: $@";
print "ready\\n";
if ($proto eq "tcp") { while (1) { my $c = $s->accept or next; print $c $name . " " . $c->peerhost . "\\n"; close $c } }
while (1) { defined $s->recv(my $data, 1500) or next; $s->send($name . " " . $s->peerhost . "\\n"); }`;

const CLIENT = `
use IO::Socket::IP; use IO::Select;
my ($proto, $host, $port, $patience, $from) = @ARGV;
my @from = $from ? (LocalHost => $from) : ();
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Proto => $proto, Timeout => $patience, @from);
if (!$s) { print $!{ETIMEDOUT} ? "failed: silence\\n" : "failed: $!\\n"; exit }
$s->send("x") if $proto eq "udp";
if (!IO::Select->new($s)->can_read($patience)) { print "failed: silence\\n"; exit }
my $n = $s->sysread(my $data, 1500);
print defined $n ? $data : "failed: $!\\n";`;

export interface AskOptions {
  protocol?: "tcp" | "udp";
  /** The address that is asked from. */
  from?: string;
  patience?: number;
}

/** A server that answers with its name and the address of who has asked. It ends with its namespace. */
export async function serve(
  namespace: NetworkNamespace,
  port: number,
  name: string,
  { protocol = "tcp", host = "0.0.0.0" }: { protocol?: "tcp" | "udp"; host?: string } = {},
): Promise<ChildProcess> {
  const child = namespace.spawn("perl", "-e", SERVER, protocol, host, `${port}`, name);
  let said = "";
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", () => resolve());
    child.stderr!.on("data", (data) => {
      said += data;
    });
    child.once("close", () => reject(new Error(`server ${name}: ${said}`)));
  });
  await within(ready, `server ${name}`);
  return child;
}

/** What is said where nothing comes back. */
export const SILENCE = "failed: silence";

/**
 * What a server says to who asks it: "NAME ADDRESS", or "failed: " and why.
 * @param options.patience in seconds: where silence is what has to come, it is short
 */
export async function ask(
  namespace: NetworkNamespace,
  host: string,
  port: number,
  { protocol = "tcp", from = "", patience = 60 }: AskOptions = {},
): Promise<string> {
  const command = ["perl", "-e", CLIENT, protocol, host, `${port}`, `${patience}`, from];
  const { stdout, stderr } = await namespace.attempt(command);
  return (stdout || stderr).trim();
}
