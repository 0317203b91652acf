// Ends a run of the tests: `node scripts/count-tests.mjs REPORT STATUS`, with the report that vitest's JSON reporter wrote and vitest's
// exit status. Prints the tests that passed only when they were tried again, each with the error of its first try, and then "N passed, N
// failed".
import { readFileSync } from "node:fs";
import { relative } from "node:path";

const [report, status] = process.argv.slice(2);
let counts = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };
try {
  counts = JSON.parse(readFileSync(report, "utf8"));
} catch {
  console.log("vitest has written no report");
}

// What passed at last keeps the errors of its tries before.
for (const { name, assertionResults } of counts.testResults)
  for (const { status, fullName, failureMessages } of assertionResults)
    if (status === "passed" && failureMessages.length > 0) {
      const lines = failureMessages[0]
        .split("\n")
        .filter((line) => !/^ +at .*(node_modules|<anonymous>|node:)/.test(line));
      console.log(`passed only when tried again: ${relative("", name)} > ${fullName}\n  ${lines.join("\n  ")}`);
    }

// A file that could not be loaded has no tests, but it has failed.
const unloaded = counts.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
let failed = counts.numFailedTests + unloaded.length;
if (failed === 0 && status !== "0") {
  console.log(`no test failed, but vitest ended with status ${status}: an error outside the tests (above)`);
  failed = 1;
}
const skipped = counts.numPendingTests + counts.numTodoTests;
console.log(`${counts.numPassedTests} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed === 0 ? 0 : 1;
