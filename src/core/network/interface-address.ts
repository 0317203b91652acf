import type { InterfaceAddress } from "../../system/network/addresses.js";
import { bitsOf, type IpAddress, lastOf, parseAddress, parseSubnet } from "./ip-address.js";

/** An address as the kernel takes it: 4 or 16 bytes. @throws Error for what is none */
export function addressBytes(text: string): Buffer {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`invalid address: ${JSON.stringify(text)}`);
  return bytesOf(parsed);
}

function bytesOf({ family, value }: IpAddress): Buffer {
  const bits = bitsOf(family);
  return Buffer.from(value.toString(16).padStart(bits / 4, "0"), "hex");
}

/** An address of a subnet, on a device. @throws Error */
export function interfaceAddress(address: string, subnet: string): InterfaceAddress {
  const parsed = parseSubnet(subnet);
  if (parsed === undefined) throw new Error(`invalid subnet: ${JSON.stringify(subnet)}`);
  const { family, length } = parsed;
  const hasBroadcast = family === 4 && length < 31;
  const broadcast = hasBroadcast ? bytesOf({ family, value: lastOf(parsed) }) : undefined;
  return { address: addressBytes(address), length, broadcast };
}

/** `02:42:0a:01:00:02` as 6 bytes. @throws Error */
export function macBytes(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new Error(`invalid MAC address: ${JSON.stringify(text)}`);
  return Buffer.from(text.replaceAll(":", ""), "hex");
}
