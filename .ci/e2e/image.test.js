// The container image, without a container engine: the Dockerfile is linted, its build command is run on what
// .dockerignore lets through, and what the last stage copies is put into an empty folder, where the program is started
// as the image's user with nothing else around it.
import assert from 'node:assert/strict';
import { chmod, chown, copyFile, cp, mkdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { DockerfileParser } from 'dockerfile-ast';
import { validate } from 'dockerfile-utils';
import { becomesReady, serve } from './kit/house.js';
import { atEnd, checkout, folder, Program, run } from './kit/process.js';

const text = await readFile(join(checkout, 'Dockerfile'), 'utf8');
const instructions = DockerfileParser.parse(text).getInstructions();
const last = instructions.findLastIndex(i => i.getKeyword() === 'FROM');

/** The arguments of an instruction of the last stage, as they stand there. */
const final = keyword =>
  instructions
    .slice(last)
    .filter(i => i.getKeyword() === keyword)
    .map(i => i.getTextContent().slice(keyword.length).trim());

test('the Dockerfile is without fault', () => {
  assert.deepEqual(
    validate(text).map(d => `${d.range.start.line + 1}: ${d.message}`),
    [],
  );
  assert.equal(instructions[last].getImage(), 'scratch');
  assert.match(final('USER')[0], /^[1-9]\d*:[1-9]\d*$/, 'a user that is a number, and not root');
  assert.equal(final('HEALTHCHECK').length, 1);
  assert.deepEqual(JSON.parse(final('VOLUME')[0]), ['/var/lib/vpsguard']);
});

/** Copies the checkout as .dockerignore, a list of what is let through, makes it the build's context. */
async function context(to) {
  const rules = (await readFile(join(checkout, '.dockerignore'), 'utf8')).split('\n').filter(l => l && !l.startsWith('#'));
  assert.equal(rules[0], '*', 'nothing but what is named');
  const kept = rules.filter(r => r.startsWith('!')).map(r => r.slice(1));
  const left = rules.slice(1).filter(r => !r.startsWith('!'));
  assert.deepEqual(left, ['**/*_test.go', '**/testdata']);
  for (const name of kept) {
    if (!(await stat(join(checkout, name)).catch(() => null))) continue;
    const filter = from => !from.endsWith('_test.go') && basename(from) !== 'testdata';
    await cp(join(checkout, name), join(to, name), { recursive: true, filter });
  }
}

/** Does what the build stage's RUN lines do, with its folders below another one. */
async function build(from, root) {
  for (const run_ of instructions.slice(0, last).filter(i => i.getKeyword() === 'RUN')) {
    const line = run_.getRawArgumentsContent().replace(/(?<=[ =])\/(out|own)/g, `${root}/$1`);
    const { code, stderr } = await run('/bin/sh', ['-euc', line], process.env, { cwd: from, within: 300_000 });
    assert.equal(code, 0, stderr);
  }
}

/** Puts together what the last stage copies. */
async function assemble(stage, image) {
  for (const line of final('COPY')) {
    const words = line.split(/ +/);
    const owner = words.find(w => w.startsWith('--chown='))?.slice(8).split(':').map(Number);
    const [source, target] = words.filter(w => !w.startsWith('--'));
    if (source.endsWith('/')) {
      await cp(join(stage, source), join(image, target), { recursive: true });
      await chmod(join(image, 'var/lib/vpsguard'), 0o700);
      for (const made of ['tmp', 'var', 'var/lib', 'var/lib/vpsguard']) await chown(join(image, made), ...owner);
      continue;
    }
    const to = join(image, target, basename(source));
    await mkdir(dirname(to), { recursive: true });
    // What the base image brings is this host's own.
    await copyFile(source.startsWith('/out/') ? join(stage, source) : source, to);
  }
}

test('its program runs in an empty root as a number', async t => {
  assert.equal(process.getuid(), 0, 'this test changes the root folder and needs to be root');
  const [source, stage, image] = [await folder(t), await folder(t), await folder(t)];
  await context(source);
  await build(source, stage);
  await assemble(stage, image);
  await chmod(image, 0o755);
  const [, user, group] = final('USER')[0].match(/(\d+):(\d+)/);
  const env = Object.fromEntries(
    final('ENV')[0]
      .split(' ')
      .map(pair => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  const inside = (...command) => ['--userspec', `${user}:${group}`, image, ...command];
  const program = JSON.parse(final('ENTRYPOINT')[0]);
  t.diagnostic(`the program has ${((await stat(join(image, program[0]))).size / 2 ** 20).toFixed(1)} MiB`);

  const version = await run('chroot', inside(...program, 'version'), { PATH: process.env.PATH });
  assert.equal(version.code, 0, version.stderr);

  // A simulated VPS.org, and a server in the image that uses it.
  const { env: outside } = await serve(t);
  const own = {
    ...env,
    PATH: process.env.PATH,
    VPSGUARD_API_URL: outside.VPSGUARD_API_URL,
    VPSGUARD_API_TOKEN: outside.VPSGUARD_API_TOKEN,
    VPSGUARD_ADDR: '127.0.0.1:0',
    VPSGUARD_LOG_FORMAT: 'json',
  };
  const server = new Program('chroot', inside(...program, ...JSON.parse(final('CMD')[0])), { env: own });
  atEnd(t, () => server.stop());
  const [, address] = await server.prints(/"url":"http:\/\/([^/]+)\/mcp"/, { stream: 'stderr' });
  await becomesReady(`http://${address}`);
  const ledger = await stat(join(image, env.XDG_STATE_HOME, 'vpsguard', 'ledger.db'));
  assert.equal(ledger.uid, Number(user));

  const check = JSON.parse(final('HEALTHCHECK')[0].replace(/^.*CMD /, ''));
  const healthy = () => run('chroot', inside(...check), { ...own, VPSGUARD_ADDR: address });
  const well = await healthy();
  assert.equal(well.code, 0, well.stderr);
  assert.equal(await server.stop(), 0);
  assert.equal((await healthy()).code, 1);
});
