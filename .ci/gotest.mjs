// Reads `go test -json` and prints what a person wants of it: a line a package as go test prints it, the whole output
// of what failed, and each test that was skipped with its reason. It fails where a test failed or was skipped: here
// everything that a test needs is installed, so a skipped one has checked nothing.
import { createInterface } from 'node:readline';

const counts = { pass: 0, fail: 0, skip: 0 };
const printed = new Map(); // what a test has printed so far
const skipped = [];
let failed = false;

const name = e => `${e.Package} ${e.Test ?? ''}`;

function onPackage(e) {
  if (e.Action === 'output' && /^(ok|FAIL|---|panic:|\?)\s/.test(e.Output)) process.stdout.write(e.Output);
  if (e.Action === 'output') printed.set(name(e), (printed.get(name(e)) ?? '') + e.Output);
  if (e.Action === 'fail') {
    failed = true;
    process.stdout.write(printed.get(name(e)) ?? '');
  }
}

function onTest(e) {
  const key = name(e);
  if (e.Action === 'output') printed.set(key, (printed.get(key) ?? '') + e.Output);
  if (!(e.Action in counts)) return;
  counts[e.Action]++;
  if (e.Action === 'fail') {
    failed = true;
    process.stdout.write(printed.get(key) ?? '');
  }
  if (e.Action === 'skip') skipped.push(`${key}\n${printed.get(key) ?? ''}`);
  printed.delete(key);
}

for await (const line of createInterface({ input: process.stdin })) {
  let e;
  try {
    e = JSON.parse(line);
  } catch {
    console.log(line); // of the go command itself
    continue;
  }
  if (e.Action === 'build-output') process.stdout.write(e.Output);
  else if (e.Action === 'build-fail') failed = true;
  else if (e.Test) onTest(e);
  else if (e.Package) onPackage(e);
}

if (skipped.length > 0) {
  console.log('\nSkipped, and each has to run here:');
  for (const text of skipped) console.log(text);
}
console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`);
if (failed || skipped.length > 0 || counts.pass === 0) process.exitCode = 1;
