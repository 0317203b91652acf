/**
 * Containers with `egress`: of them only names that were allowed are asked for, and the host lets their addresses through before the
 * container is told them. What it asks for is written down.
 */
import { allowedBy, hostSet, portSet } from "../contract/netd/egress";
import type { AskedName, AskedNames, NetdEgress } from "../contract/netd/messages";
import { errorText } from "../shim/syscalls/libc";
import * as waiting from "../shim/syscalls/waiting";
import { type AnsweredAddress, answeredAddresses } from "./answered-addresses";
import { forgetConnections } from "./connections";
import type { Container } from "./containers";
import * as dns from "./dns";
import { gate } from "./gate";
import { logError } from "./log";
import * as nft from "./nfnetlink";
import * as inet from "./syscalls/inet";

/** In seconds: how long an address is let through after its answer's time is over, for who uses it a little later. */
const EXTRA_SECONDS = 60;
const LONGEST_SECONDS = 86_400;
/** How many addresses of an answer are let through. */
const MOST_ADDRESSES = 128;
/** How many in one transaction: the kernel keeps so many acknowledgements. */
const MOST_AT_ONCE = 16;
/** How many of a container's addresses are kept in mind, to be let through again once the host's rules were made anew. */
const MOST_REMEMBERED = 256;
/** How many names of a container are written down, and of all containers: they are as long as they like. */
const MOST_ASKED = 100;
const MOST_ASKED_OF_ALL = 2000;
/** In bytes: of the names of a container in an answer to the daemon, which is one packet. */
const MOST_TOLD = 9000;

/** Milliseconds of `waiting.now()`. */
type Time = number;

/** An element of a set of the host's. */
interface Grant {
  readonly set: string;
  readonly key: string;
  readonly until: Time;
}

interface Asked {
  allowed: boolean;
  count: number;
  /** Of the wall clock. */
  time: number;
}

/** What is known of a container with `egress`. */
interface Guarded {
  wishes: NetdEgress;
  /** By set and key. */
  grants: LuaTable<string, Grant>;
  grantCount: number;
  asked: LuaTable<string, Asked>;
  askedCount: number;
  dropped: number;
}

const guarded = new LuaTable<string, Guarded>();
let askedOfAll = 0;
let netfilter = -1;

/** Has the gate kept: from the network namespace that we are in, whose rules they are. Throws a message. */
export function guardContainers(): void {
  netfilter = inet.openNetfilterSocket();
  if (netfilter < 0) error(`netlink: ${errorText(netfilter)}`, 0);
  gate.current = { allows, answered, changed };
}

function allows(container: Container, question: dns.Question): boolean {
  if (container.egress === undefined) return true;
  const known = guarded.get(container.key);
  if (known === undefined) return false;
  const { name } = question;
  const isAllowed = name !== undefined && question.isInternet && allowedBy(known.wishes.names, name).length > 0;
  writeDown(known, printable(name ?? "?"), isAllowed);
  return isAllowed;
}

function answered(container: Container, question: dns.Question, answer: string, pass: (answer: string) => void): void {
  if (container.egress !== undefined) {
    const known = guarded.get(container.key);
    const addresses = answeredAddresses(answer, MOST_ADDRESSES);
    if (known === undefined || letThrough(known, question.name!, addresses) < 0) {
      pass(dns.answer(question, dns.SERVER_FAILURE, [], question.room));
      return;
    }
  }
  pass(answer);
}

function changed(container: Container, isThere: boolean): void {
  const known = guarded.get(container.key);
  const wishes = container.egress;
  if (!isThere || wishes === undefined) {
    if (known === undefined) return;
    guarded.delete(container.key);
    askedOfAll -= known.askedCount;
    forgetOwner(known.wishes.addresses);
    return;
  }
  if (known === undefined) {
    const grants = new LuaTable<string, Grant>();
    const asked = new LuaTable<string, Asked>();
    guarded.set(container.key, { wishes, grants, grantCount: 0, asked, askedCount: 0, dropped: 0 });
    return;
  }
  known.wishes = wishes;
  renew(known);
}

/** What a container has asked for, the last ones first. */
export function askedNames(key: string): AskedNames {
  const known = guarded.get(key);
  const all: AskedName[] = [];
  if (known === undefined) return { asked: all, dropped: 0 };
  for (const [name, { allowed, count, time }] of known.asked) all[all.length] = { name, allowed, count, time };
  table.sort(all, (a, b) => a.time > b.time);
  let room = MOST_TOLD;
  let { dropped } = known;
  const told: AskedName[] = [];
  for (const one of all) {
    // Beside the name, there are words, and two numbers.
    room -= one.name.length + 80;
    if (room > 0) told[told.length] = one;
    else dropped += one.count;
  }
  return { asked: told, dropped };
}

/** Has the host forget the connections that the owner of addresses has begun: the next one must not go on with them. */
export function forgetOwner(addresses: readonly string[]): void {
  for (const address of addresses) {
    const bytes = inet.addressBytes(address);
    if (bytes !== undefined) forgetConnections(netfilter, bytes);
  }
}

/** 0, or a negative errno: then nothing may be told. */
function letThrough(known: Guarded, name: string, addresses: readonly AnsweredAddress[]): number {
  const { prefix, names } = known.wishes;
  const now = waiting.now();
  const wanted: Grant[] = [];
  for (const { bytes, time } of addresses) {
    const family = bytes.length === 4 ? 4 : 6;
    if (!hasFamily(known.wishes, family)) continue;
    const until = now + (math.min(time, LONGEST_SECONDS) + EXTRA_SECONDS) * 1000;
    for (const { port } of allowedBy(names, name)) {
      // Fields of a key take whole words.
      const key = port === 0 ? bytes : `${bytes}${string.char(port >> 8, port & 0xff)}\0\0`;
      const set = port === 0 ? hostSet(prefix, family) : portSet(prefix, family);
      const before = known.grants.get(set + key);
      // One that is asked for again and again need not be put in each time.
      if (before === undefined || before.until < until - (EXTRA_SECONDS * 1000) / 2)
        wanted[wanted.length] = { set, key, until };
    }
  }
  const outcome = put(known.wishes.table, wanted, now);
  if (outcome >= 0) for (const grant of wanted) remember(known, grant, now);
  return outcome;
}

/** A container without addresses of that family has no sets for it either. */
function hasFamily({ addresses }: NetdEgress, family: 4 | 6): boolean {
  return addresses.some((address) => (string.find(address, ":", 1, true)[0] === undefined) === (family === 4));
}

/** Puts elements into the host's sets; those that are there last until the new time. 0, or the negative errno of the first that failed. */
function put(table: string, grants: readonly Grant[], now: Time): number {
  let outcome = 0;
  let messages: nft.Message[] = [];
  for (const { set, key, until } of grants) {
    const element = nft.nested(1, nft.nested(1, nft.attribute(1, key)));
    const lasting = nft.nested(1, nft.nested(1, nft.attribute(1, key)), nft.attribute(4, nft.bigEndian64(until - now)));
    const message = (type: number, one: string): nft.Message => ({
      ...{ type, family: nft.INET, flags: type === nft.NEW_ELEMENTS ? nft.NLM_F_CREATE : 0 },
      attributes: nft.text(1, table) + nft.text(2, set) + nft.nested(3, one),
    });
    // The time of one that is there can't be changed by every kernel, and one that is not can't be deleted.
    messages.push(
      message(nft.NEW_ELEMENTS, lasting),
      message(nft.DELETE_ELEMENTS, element),
      message(nft.NEW_ELEMENTS, lasting),
    );
    if (messages.length < MOST_AT_ONCE * 3) continue;
    outcome = math.min(outcome, nft.commit(netfilter, messages));
    messages = [];
  }
  if (messages.length > 0) outcome = math.min(outcome, nft.commit(netfilter, messages));
  return outcome;
}

function remember(known: Guarded, grant: Grant, now: Time): void {
  const { grants } = known;
  const name = grant.set + grant.key;
  if (!grants.has(name)) {
    if (known.grantCount >= MOST_REMEMBERED) {
      for (const [other, { until }] of grants) {
        if (until > now) continue;
        grants.delete(other);
        known.grantCount--;
      }
    }
    if (known.grantCount >= MOST_REMEMBERED) return;
    known.grantCount++;
  }
  grants.set(name, grant);
}

/** Lets through again what is kept in mind. */
function renew({ grants, wishes }: Guarded): void {
  const now = waiting.now();
  const left: Grant[] = [];
  for (const [, grant] of grants) if (grant.until > now) left[left.length] = grant;
  const outcome = put(wishes.table, left, now);
  if (outcome < 0) logError(`${wishes.prefix}: ${errorText(outcome)}`);
}

function writeDown(known: Guarded, name: string, allowed: boolean): void {
  const [seconds, nanoseconds] = waiting.wallClock();
  const time = seconds * 1000 + math.floor(nanoseconds / 1e6);
  const before = known.asked.get(name);
  if (before !== undefined) {
    before.allowed = allowed;
    before.count++;
    before.time = time;
  } else if (known.askedCount >= MOST_ASKED || askedOfAll >= MOST_ASKED_OF_ALL) known.dropped++;
  else {
    known.asked.set(name, { allowed, count: 1, time });
    known.askedCount++;
    askedOfAll++;
  }
}

/** A name as zone files have it: it may have any bytes. */
function printable(name: string): string {
  const [text] = string.gsub(name, "[^%w._-]", (char) => string.format("\\%03d", string.byte(char)));
  return string.sub(text, 1, 300);
}
