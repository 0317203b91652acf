/**
 * `npm run stress:client -- [RUNS] [PARALLEL] [SEED]`: 1,000 runs, 20 at a time, with random aborts and timeouts, on a daemon of
 * its own. The last line says whether all went well.
 */
import { startDaemon } from "../harness/daemon.js";
import { removeSharedRootfs } from "../harness/rootfs.js";
import { ENDINGS, runLoad } from "./run-load.js";

/** So many runs see every way in which one can end. */
const ALL_ENDINGS = 300;

const [runs = 1000, parallel = 20, seed = 1] = process.argv.slice(2).map(Number);
if (![runs, parallel].every((count) => Number.isInteger(count) && count > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run stress:client -- [RUNS] [PARALLEL] [SEED]");
  process.exit(2);
}

try {
  await using daemon = await startDaemon();
  console.log(`${runs} runs, ${parallel} at a time, seed ${seed}`);
  const { outcomes, wrong, seconds, descriptors } = await runLoad(daemon, { runs, parallel, seed });
  for (const [outcome, count] of Object.entries(outcomes).sort((a, b) => b[1] - a[1]))
    console.log(`${String(count).padStart(6)} ${outcome}`);
  console.log(`${seconds.toFixed(1)} s, ${(runs / seconds).toFixed(1)} runs a second`);
  for (const [program, [before, after]] of Object.entries(descriptors))
    console.log(`descriptors of the ${program}: ${before} before, ${after} after`);
  const unseen = ENDINGS.filter((names) => !names.some((name) => outcomes[name]));
  if (runs >= ALL_ENDINGS) wrong.push(...unseen.map(([name]) => `no run ${name}: too little was tried`));
  for (const line of wrong) console.log(`wrong: ${line}`);
  if (wrong.length > 0)
    console.log(
      daemon.log
        .split("\n")
        .filter((line) => /"level":"?(warn|40)/.test(line))
        .join("\n"),
    );
  console.log(wrong.length === 0 ? "all right, nothing left" : `${wrong.length} wrong`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
} finally {
  removeSharedRootfs();
}
