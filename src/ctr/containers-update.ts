import { Command } from "commander";
import type { Limits } from "../client/index.js";
import { required } from "./arguments.js";
import { addExamples } from "./example.js";
import { openClient } from "./global-flags.js";

/** A flag, the field it sets, and what it says. */
const numbers = [
  ["memory-limit", "memoryLimit", "bytes of memory"],
  ["memory-reservation", "memoryReservation", "bytes of memory to fall back to when the host runs short"],
  ["memory-swap", "memorySwap", "bytes of memory and swap together"],
  ["cpu-quota", "cpuQuota", "microseconds of CPU time in a period"],
  ["cpu-period", "cpuPeriod", "microseconds of a period"],
  ["cpu-shares", "cpuShares", "weight of its CPU time"],
  ["kernel-limit", "kernelMemoryLimit", "bytes of kernel memory"],
  ["kernel-tcp-limit", "kernelTCPMemoryLimit", "bytes of kernel memory for TCP"],
  ["blkio-weight", "blkioWeight", "weight of its block I/O, 10 to 1000"],
  ["pids-limit", "pidsLimit", "number of processes"],
] as const;

const texts = [
  ["cpuset-cpus", "cpusetCpus", "CPUs to run on: 0-2,4"],
  ["cpuset-mems", "cpusetMems", "memory nodes to use: 0,1"],
] as const;

export function containersUpdateCommand(): Command {
  const command = new Command("update")
    .description("change limits of a running container; what is not given stays as it is")
    .usage("[flags] ID")
    .argument("[id]", "the container");
  for (const [flag, , text] of numbers) command.option(`--${flag} <number>`, text);
  for (const [flag, , text] of texts) command.option(`--${flag} <list>`, text);
  command.action(async (id: string | undefined, flags: Record<string, string | undefined>) => {
    const container = required(id, "container id");
    const limits: Limits = {};
    for (const [flag, field] of numbers) {
      const text = flags[camelCase(flag)];
      if (text !== undefined && text !== "") limits[field] = parseNumber(text, flag);
    }
    for (const [flag, field] of texts) {
      const text = flags[camelCase(flag)];
      if (text !== undefined && text !== "") limits[field] = text;
    }
    if (Object.keys(limits).length === 0) throw new Error("nothing to update: give at least one limit");
    const client = await openClient(command);
    await client.api.updateContainer({ id: container, resources: limits });
  });
  return addExamples(command, "ctr containers update --memory-limit 268435456 --pids-limit 100 web");
}

function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** What Go's ParseUint takes with base 0: decimal, 0x, 0b, 0o and a leading 0 for octal. */
function parseNumber(text: string, flag: string): bigint {
  const valid = /^(0x[\da-f]+|0b[01]+|0o[0-7]+|0[0-7]*|[1-9]\d*)$/i.test(text);
  const value = valid ? BigInt(/^0\d/.test(text) ? `0o${text}` : text.toLowerCase()) : -1n;
  if (value < 0n || value >= 2n ** 64n) throw new Error(`invalid number "${text}" for --${flag}`);
  return value;
}
