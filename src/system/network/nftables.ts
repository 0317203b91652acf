import { EPOLLIN, epoll } from "../linux/epoll.js";
import { hasCode } from "../linux/libc.js";
import { decodeAttributes, textAttribute, textOf } from "./netlink-message.js";
import { NETLINK_NETFILTER, NetlinkSocket } from "./netlink-socket.js";

const NFNL_SUBSYS_NFTABLES = 10;
const NFNLGRP_NFTABLES = 7;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_DELCHAIN = 5;
const NFT_MSG_DELRULE = 8;
const NFT_MSG_DELSET = 11;
/** Of a table its name, of all else its table's. */
const NFTA_TABLE_NAME = 1;
const NFTA_TABLE_HANDLE = 4;
/** struct nfgenmsg */
const HEADER_SIZE = 4;

/** As the kernel numbers the families of tables. */
export const NFPROTO_INET = 1;
export const NFPROTO_BRIDGE = 7;

/**
 * Which table has this name: a number that no table gets that is made later; undefined when there is none, or the kernel has no nftables.
 * @throws NetlinkError, a system error
 */
export async function tableHandle(family: number, name: string): Promise<bigint | undefined> {
  let socket: NetlinkSocket;
  try {
    socket = new NetlinkSocket(NETLINK_NETFILTER);
  } catch (error) {
    if (hasCode(error, "EPROTONOSUPPORT")) return undefined;
    throw error;
  }
  try {
    const body = Buffer.concat([Buffer.of(family, 0, 0, 0), textAttribute(NFTA_TABLE_NAME, name)]);
    const answer = await socket.ask({ type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE, flags: 0, body });
    return answer === undefined ? undefined : handleOf(decodeAttributes(answer.body.subarray(HEADER_SIZE)));
  } catch (error) {
    // EINVAL: nfnetlink without nftables.
    if (hasCode(error, "ENOENT") || hasCode(error, "EINVAL")) return undefined;
    throw error;
  } finally {
    socket[Symbol.dispose]();
  }
}

function handleOf(attributes: Map<number, Buffer>): bigint | undefined {
  return attributes.get(NFTA_TABLE_HANDLE)?.readBigUInt64BE(0);
}

/** What was taken away of the tables of one name. */
export interface NftablesLoss {
  /** The handles of tables. */
  tables: bigint[];
  /** Whether rules, chains or sets were. */
  isPart: boolean;
  /** Whether so much has happened that the kernel has not told all of it. */
  isUnsure: boolean;
}

/** Hears what is taken away, by whomever, of the tables of one name. */
export class NftablesWatch implements Disposable {
  readonly #table: string;
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER, { groups: [NFNLGRP_NFTABLES] });
  #closed = false;

  /** @param onLoss is told at once, in a turn of the loop of its own @throws a system error */
  constructor(table: string, onLoss: (loss: NftablesLoss) => void) {
    this.#table = table;
    try {
      epoll.add(this.#socket.fd, EPOLLIN, () => {
        const loss = this.take();
        if (loss !== undefined) onLoss(loss);
      });
    } catch (error) {
      this.#socket[Symbol.dispose]();
      throw error;
    }
  }

  /** What has been lost up to now and nobody was told of; undefined: nothing. @throws a system error */
  take(): NftablesLoss | undefined {
    const loss: NftablesLoss = { tables: [], isPart: false, isUnsure: false };
    for (;;) {
      try {
        const messages = this.#socket.received();
        if (messages === undefined) break;
        for (const { type, body } of messages) this.#note(type, body, loss);
      } catch (error) {
        if (!hasCode(error, "ENOBUFS")) throw error;
        loss.isUnsure = true;
      }
    }
    return loss.tables.length > 0 || loss.isPart || loss.isUnsure ? loss : undefined;
  }

  #note(type: number, body: Buffer, loss: NftablesLoss): void {
    if (type >> 8 !== NFNL_SUBSYS_NFTABLES) return;
    const what = type & 0xff;
    if (![NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET].includes(what)) return;
    const attributes = decodeAttributes(body.subarray(HEADER_SIZE));
    if (textOf(attributes.get(NFTA_TABLE_NAME)) !== this.#table) return;
    const handle = handleOf(attributes);
    if (what !== NFT_MSG_DELTABLE) loss.isPart = true;
    else if (handle === undefined) loss.isUnsure = true;
    else loss.tables.push(handle);
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    epoll.remove(this.#socket.fd);
    this.#socket[Symbol.dispose]();
  }
}
