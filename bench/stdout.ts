import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { Fleet } from "./fleet.js";
import { median, type Row, row } from "./row.js";

const MEGABYTES = 8192;
const COMMAND = `dd if=/dev/zero bs=1048576 count=${MEGABYTES} 2>/dev/null`;

/** Reads a FIFO to its end as fast as the kernel can: splice would be faster than any client, so a plain reader with large reads. */
function reader(fifo: string): Promise<unknown> {
  return once(spawn("dd", [`if=${fifo}`, "of=/dev/null", "bs=1048576"], { stdio: "ignore" }), "exit");
}

/** Container stdout through the shim into a FIFO, beside the same writer and reader with nothing but the FIFO between them. */
export async function stdoutRate(): Promise<Row[]> {
  await using fleet = await Fleet.launch();
  const { daemon } = fleet;
  const bundle = daemon.bundle("dd", { args: ["sh", "-c", COMMAND] });
  const ours: number[] = [];
  const bare: number[] = [];
  for (let n = 0; n < 3; n++) {
    const fifo = fleet.file(`fifo${n}`);
    execFileSync("mkfifo", [fifo]);
    let began = performance.now();
    let done = reader(fifo);
    spawn("sh", ["-c", `busybox ${COMMAND} > ${fifo}`], { stdio: "ignore" });
    await done;
    bare.push((MEGABYTES * 1.048576) / (performance.now() - began));
    const id = daemon.id(`dd${n}`);
    done = reader(fifo);
    await daemon.api.createContainer({ id, bundlePath: bundle, stdout: fifo });
    began = performance.now();
    await done;
    ours.push((MEGABYTES * 1.048576) / (performance.now() - began));
  }
  return [
    row({
      name: "stdout of one container",
      unit: "GB/s",
      ours: median(ours),
      peer: { name: "the same through one FIFO", value: median(bare) },
      aim: "ratio >= 1",
      met: (_, ratio) => ratio >= 1,
    }),
  ];
}
