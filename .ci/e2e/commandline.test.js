// The command line as people and their scripts use it: exit codes, a terminal where no server runs, a graceful stop, an
// audit that somebody has tampered with, and the commands that the README gives.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { becomesReady, serve, stdio } from './kit/house.js';
import { approve } from './kit/person.js';
import { atEnd, checkout, given, Program, run, surroundings, vpsguard } from './kit/process.js';
import { assertHeld, remove, restore, writes } from './kit/story.js';

test('exit codes: 0 done, 1 failed, 2 wrong usage', async t => {
  const env = await surroundings(t);
  const own = { ...env, VPSGUARD_API_TOKEN: 'token', VPSGUARD_DATABASE: `sqlite:${env.HOME}/none.db` };
  for (const [code, args, more, says] of [
    [0, ['version'], {}, /^vpsguard /],
    [0, ['--help'], {}, /Usage:/],
    [0, ['help', 'environment'], {}, /VPSGUARD_API_TOKEN/],
    [2, ['nosuch'], {}, /nosuch/],
    [2, ['serve', '--nosuch'], {}, /nosuch/],
    [2, ['requests', 'show', 'seven'], {}, /rq_/],
    [2, ['requests', 'show'], {}, /id of one request/],
    [2, ['serve'], { VPSGUARD_API_TIMEOUT: 'soon' }, /VPSGUARD_API_TIMEOUT must be/],
    [2, ['serve'], { VPSGUARD_API_TOKENS: 'x' }, /VPSGUARD_API_TOKENS.*did you mean VPSGUARD_API_TOKEN/],
    [2, ['serve'], { VPSGUARD_ADDR: '0.0.0.0:8080' }, /VPSGUARD_ADDR/],
    [2, ['stdio'], { VPSGUARD_API_TOKEN: '' }, /VPSGUARD_API_TOKEN/],
    [2, ['stdio'], { VPSGUARD_API_URL: 'http://vps.example/api/v1' }, /VPSGUARD_API_URL must be/],
    [1, ['requests', 'show', 'rq_7f3k9c'], {}, /ledger/],
    [1, ['audit', 'verify'], {}, /ledger/],
  ]) {
    await t.test(`${Object.keys(more)} ${args.join(' ')}: ${code}`, async () => {
      const { code: found, stdout, stderr } = await run(vpsguard, args, { ...own, ...more });
      assert.equal(found, code, stdout + stderr);
      assert.match(stdout + stderr, says);
      if (code === 2) assert.equal(stderr.trimEnd().split('\n').length, 1, `one line, and not:\n${stderr}`);
      assert.doesNotMatch(stderr, /panic|goroutine|\.go:\d/);
    });
  }
});

test('where no server runs, the terminal offers to run what was confirmed', async t => {
  const house = await stdio(t);
  const client = await clients[2].connect(t, house);
  await client.listTools();
  const { id } = assertHeld(await client.call('delete_snapshot', remove), 'delete_snapshot');
  await client.client.close(); // and with it the process that served it
  const person = await approve(t, house, id);
  await person.reads('Run it here, now? [y/N]');
  assert.deepEqual(await writes(house), []);
  person.types('y');
  const { code, screen } = await person.leaves();
  assert.equal(code, 0, screen);
  assert.match(screen, new RegExp(`${id} is done`));
  assert.deepEqual(await writes(house), ['delete /snapshots/798/']);
});

test('a server tells that it is well, and stops gracefully with a restore under way that the next one finishes', async t => {
  const house = await serve(t);
  const base = house.url.replace(/\/mcp$/, '');
  assert.equal((await fetch(`${base}/healthz`)).status, 200);
  await becomesReady(base);
  const check = { ...house.env, VPSGUARD_ADDR: new URL(base).host };
  assert.equal((await run(vpsguard, ['serve', '--check'], check)).code, 0);

  const client = await clients[2].connect(t, house);
  await client.listTools();
  const { id } = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
  const person = await approve(t, house, id);
  await person.reads('safety copy: accepted');
  assert.equal(await house.server.stop(), 0);
  assert.equal((await run(vpsguard, ['serve', '--check'], check)).code, 1);

  const next = new Program(vpsguard, ['serve'], { env: house.env });
  atEnd(t, () => next.stop());
  const { code, screen } = await person.leaves();
  assert.equal(code, 0, screen);
  assert.match(screen, new RegExp(`${id} is done`));
  assert.deepEqual(await writes(house), ['create /snapshots/', 'overwrite /snapshots/801/restore/']);
  assert.equal(await next.stop(), 0);
});

test('audit verify finds one changed word (exit 1) and names the record', async t => {
  const house = await serve(t);
  const client = await clients[2].connect(t, house);
  await client.listTools();
  const { id } = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
  await client.client.close();
  await house.server.stop();
  assert.equal((await house.command('audit', 'verify')).code, 0);
  const file = house.env.VPSGUARD_DATABASE.replace('sqlite:', '');
  const content = await readFile(file, 'latin1');
  const event = content.lastIndexOf('"event":"request.held"');
  assert.ok(event > 0, 'the record is in the file');
  await writeFile(file, content.slice(0, event) + '"event":"request.done"' + content.slice(event + 22), 'latin1');
  const { code, stdout, stderr } = await house.command('audit', 'verify');
  assert.equal(code, 1, stdout);
  assert.match(stderr, /record \d+/);
  assert.doesNotMatch(stdout, new RegExp(`whole|${id}`));
});

test("the README's commands", async t => {
  const lines = (await readFile(given('E2E_README'), 'utf8')).split('\n');
  const env = await surroundings(t);

  await t.test('go run ./cmd/vpsguard sandbox: it runs, and a client reaches it', async () => {
    const line = 'go run ./cmd/vpsguard sandbox';
    assert.ok(lines.includes(line), `the README does not give: ${line}`);
    const [command, ...args] = line.split(' ');
    const program = new Program(command, args, {
      cwd: checkout,
      env: { ...process.env, XDG_RUNTIME_DIR: env.HOME, TMPDIR: env.HOME },
      detached: true, // go run does not hand signals on; its whole group gets them
    });
    atEnd(t, async () => {
      if (program.code === undefined) process.kill(-program.child.pid, 'SIGTERM');
      await program.ended;
    });
    const [, url] = await program.prints(/MCP: (\S+)/, { within: 300_000 });
    const client = await clients[0].connect(t, { url });
    assert.equal((await client.listTools()).length, 15);
  });

  const commands = lines.flatMap(line => line.match(/(?:^|-- )vpsguard(?: [^|<>&;]*)?/)?.[0].replace('-- ', '').trim() ?? []);
  for (const line of new Set(commands)) {
    await t.test(`${line}: there is such a command`, async () => {
      const words = line.split(/ +/).slice(1);
      const { code, stdout, stderr } = await run(vpsguard, [...words, '--help'], env);
      assert.equal(code, 0, stderr);
      const path = words.filter(w => !w.startsWith('-'))[0] ?? '';
      assert.match(stdout, new RegExp(`Usage:\\n  vpsguard ?${path}`));
    });
  }
});
