/** What becomes of a container's question. */
import type { Container } from "./containers";
import * as dns from "./dns";
import { gate } from "./gate";
import { lookUp } from "./names";
import { hostServers } from "./resolv-conf";
import { forward } from "./upstream";

/** In bytes: of an answer over TCP. */
const LARGEST_ANSWER = 65_535;
/** How many questions of a container may be with the servers at a time: the sockets of one that asks without an end. */
const MOST_OUTSTANDING = 256;

/** Answers a question, now or later. False: it is none, and nobody is answered. */
export function resolve(
  container: Container,
  packet: string,
  protocol: "tcp" | "udp",
  reply: (answer: string) => void,
): boolean {
  const question = dns.parseQuestion(packet);
  if (question === undefined) return false;
  answer(container, question, packet, protocol, reply);
  return true;
}

function answer(
  container: Container,
  question: dns.Question,
  packet: string,
  protocol: "tcp" | "udp",
  reply: (answer: string) => void,
): void {
  const room = protocol === "tcp" ? LARGEST_ANSWER : question.room;
  const say = (code: number) => reply(dns.answer(question, code, [], room));
  if (question.operation !== 0) {
    say(dns.NOT_IMPLEMENTED);
    return;
  }
  // Who is told of a refusal asks again for a while; of a name that is none, nobody does.
  if (gate.current !== undefined && !gate.current.allows(container, question)) {
    say(dns.NO_SUCH_NAME);
    return;
  }
  if (question.isInternet && question.name !== undefined) {
    const found = lookUp(container.places, question.name, question.type);
    if (found !== undefined) {
      reply(dns.answer(question, dns.NO_ERROR, found, room));
      return;
    }
  }
  const servers = container.servers === "host" ? hostServers() : container.servers;
  if (servers.length === 0) {
    say(dns.NO_SUCH_NAME);
    return;
  }
  if (container.outstanding >= MOST_OUTSTANDING) {
    say(dns.SERVER_FAILURE);
    return;
  }
  container.outstanding++;
  forward(question, packet, protocol, servers, (answer) => {
    container.outstanding--;
    if (!container.isThere) return;
    if (answer === undefined) return say(dns.SERVER_FAILURE);
    const pass = (passed: string) => {
      const isTooLong = protocol === "udp" && passed.length > question.room;
      reply(isTooLong ? dns.truncated(passed, question) : passed);
    };
    if (gate.current === undefined) pass(answer);
    else gate.current.answered(container, question, answer, pass);
  });
}
