// The official conformance suite, in the version for each era of the protocol, first against the program as it is, and
// then against the same door with the suite's fixtures on it (tools/conformance_test.go). What the suite itself prints
// is printed; what it wrote down is held against what has to pass here, check by check.
import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { serve } from '../e2e/kit/house.js';
import { folder, given, run, start, surroundings } from '../e2e/kit/process.js';

const here = name => fileURLToPath(new URL(name, import.meta.url));

/** The suite wants Node 22, which npm has as a package. */
const node = Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : here(`node_modules/node-linux-${process.arch}/bin/node`);

/** The runs: a version of the suite and what is asked of it. */
const older = { name: '0.1.16, all', version: '0.1.16', args: ['--suite', 'all'] };
const middle = { name: '2025-11-25', version: '0.2.0', args: ['--requirements', '2025-11-25'] };
const newer = { name: '2026-07-28', version: '0.2.0', args: ['--requirements', '2026-07-28'] };

/** Which of its scenarios a run has to pass without any fixture. */
const bare = [
  [older, ['server-initialize', 'ping', 'tools-list', 'server-sse-multiple-streams', 'dns-rebinding-protection']],
  [
    newer,
    [
      'server-stateless', // less what it says cannot be tested without its fixtures
      'tools-list',
      'server-sse-multiple-streams',
      'dns-rebinding-protection',
      'input-required-result-unsupported-methods',
      'http-header-validation',
    ],
  ],
];

/** Every failure that is expected of the fixtures, with its reason. */
const expected = JSON.parse(await readFile(here('expected-failures.json'), 'utf8'));

const known = (suite, name) => expected.find(e => e.run === suite.name && e.scenario === name) ?? { checks: [] };

/** The scenarios that a revision wants, as the suite's own list has them. */
async function scored({ version, args: [option, revision] }, all) {
  if (option !== '--requirements') return all;
  const list = await readFile(here(`node_modules/conformance-${version}/requirements/${revision}.yaml`), 'utf8');
  const names = list.match(/^server:\n((?: {2}- .*\n)+)/m)[1].match(/[\w-]+(?=\n)/g);
  assert.ok(names.length > 20, names);
  return names;
}

/** Runs the suite; gives its exit code, its summary, and what it found in each scenario. */
async function conform(t, env, url, { name, version, args }) {
  const out = await folder(t);
  const baseline = join(out, 'expected.yml');
  const names = expected.filter(e => e.run === name).map(e => e.scenario);
  await writeFile(baseline, `server: ${JSON.stringify(names)}\n`);
  const program = here(`node_modules/conformance-${version}/dist/index.js`);
  const results = join(out, 'results');
  const { code, stdout, stderr } = await run(
    node,
    [program, 'server', '--url', url, ...args, '--expected-failures', baseline, '--output-dir', results],
    env,
  );
  const summary = stdout.slice(stdout.indexOf('=== SUMMARY ==='));
  assert.match(summary, /=== SUMMARY ===/, stdout + stderr);
  const found = new Map();
  for (const dir of await readdir(results)) {
    const [, scenario] = dir.match(/^server-(.*)-\d{4}-\d\d-\d\dT/);
    found.set(scenario, JSON.parse(await readFile(join(results, dir, 'checks.json'), 'utf8')));
  }
  return { code, summary, found };
}

/** The checks that did not pass, those that are only recommended included. */
const wrong = checks => checks.filter(c => c.status === 'FAILURE' || c.status === 'WARNING');
const told = checks => checks.map(c => `${c.id}: ${c.errorMessage}`).join('\n');

for (const [suite, names] of bare) {
  test(`vpsguard serve as it is: ${suite.name}`, async t => {
    const house = await serve(t);
    const { summary, found } = await conform(t, house.env, house.url, suite);
    const lines = summary.split('\n').filter(line => names.some(name => line.includes(` ${name}: `)));
    console.log([`Of ${found.size} scenarios, these need no fixture:`, ...lines].join('\n'));
    for (const name of names) {
      const checks = found.get(name);
      assert.ok(checks?.some(c => c.status === 'SUCCESS'), `${name} was not run`);
      const failed = wrong(checks).filter(c => !c.details?.untestable && !known(suite, name).checks.includes(c.id));
      assert.equal(told(failed), '', name);
    }
    assert.deepEqual((await house.witness()).writes, []);
  });
}

for (const suite of [older, middle, newer]) {
  test(`its door, with the suite's fixtures: ${suite.name}`, async t => {
    const env = await surroundings(t);
    const fixtures = start(t, given('E2E_FIXTURES'), ['-test.run=^TestServeFixtures$', '-test.timeout=10m'], env);
    const { url } = JSON.parse((await fixtures.prints(/.*\n/))[0]);
    let seen;
    try {
      seen = await conform(t, env, url, suite);
    } finally { // what failed behind the door is told first: it may be why the suite is not content
      fixtures.child.stdin.end();
      assert.equal(await fixtures.ended, 0, fixtures.stdout + fixtures.stderr);
    }
    const { code, summary, found } = seen;
    console.log(summary.trim());
    for (const name of await scored(suite, [...found.keys()])) {
      assert.ok(found.has(name), `${name} was not run`);
      const failed = wrong(found.get(name));
      const { checks, reason } = known(suite, name);
      assert.deepEqual(failed.map(c => c.id), checks, `${name}\n${told(failed)}`);
      if (reason) console.log(`${name}, ${checks.join(' and ')}, is expected to fail: ${reason}`);
    }
    assert.equal(code, 0, 'the suite itself is not content');
  });
}
