import { Command } from "commander";
import type { Limits } from "../../client/index.js";
import { required } from "../command-line/arguments.js";
import { addExamples } from "../command-line/example.js";
import { openClient } from "../command-line/global-flags.js";
import { parseNumber, parseSize } from "../command-line/sizes.js";

/** A flag, the field it sets, and what it says. */
const SIZES = [
  ["memory-limit", "memoryLimit", "bytes of memory"],
  ["memory-reservation", "memoryReservation", "bytes of memory to fall back to when the host runs short"],
  ["memory-swap", "memorySwap", "bytes of memory and swap together"],
  ["kernel-limit", "kernelMemoryLimit", "bytes of kernel memory"],
  ["kernel-tcp-limit", "kernelTCPMemoryLimit", "bytes of kernel memory for TCP"],
] as const;

const NUMBERS = [
  ["cpu-quota", "cpuQuota", "microseconds of CPU time in a period"],
  ["cpu-period", "cpuPeriod", "microseconds of a period"],
  ["cpu-shares", "cpuShares", "weight of its CPU time"],
  ["blkio-weight", "blkioWeight", "weight of its block I/O, 10 to 1000"],
  ["pids-limit", "pidsLimit", "number of processes"],
] as const;

const TEXTS = [
  ["cpuset-cpus", "cpusetCpus", "CPUs to run on: 0-2,4"],
  ["cpuset-mems", "cpusetMems", "memory nodes to use: 0,1"],
] as const;

export function containersUpdateCommand(): Command {
  const command = new Command("update")
    .description("change limits of a running container; what is not given stays as it is")
    .usage("[flags] ID")
    .argument("[id]", "the container");
  for (const [flag, , text] of SIZES) command.option(`--${flag} <size>`, `${text}: a number, or one with k, m, g or t`);
  for (const [flag, , text] of NUMBERS) command.option(`--${flag} <number>`, text);
  for (const [flag, , text] of TEXTS) command.option(`--${flag} <list>`, text);
  command.action(async (id: string | undefined, flags: Record<string, string | undefined>) => {
    const container = required(id, "container id", command);
    const limits: Limits = {};
    for (const [parse, table] of [
      [parseSize, SIZES],
      [parseNumber, NUMBERS],
    ] as const) {
      for (const [flag, field] of table) {
        const text = flags[camelCase(flag)];
        if (text !== undefined && text !== "") limits[field] = parse(text, flag);
      }
    }
    for (const [flag, field] of TEXTS) {
      const text = flags[camelCase(flag)];
      if (text !== undefined && text !== "") limits[field] = text;
    }
    if (Object.keys(limits).length === 0) throw new Error("nothing to update: give at least one limit");
    const client = await openClient(command);
    await client.v0.api.updateContainer({ id: container, resources: limits });
  });
  return addExamples(command, "ctr containers update --memory-limit 256m --pids-limit 100 web");
}

function camelCase(flag: string): string {
  return flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
