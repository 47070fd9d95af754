// The same story, shorter, with the official TypeScript clients of both eras of the protocol, over stdio and over HTTP.
// Each client checks every structured result against the tool's output schema by itself, and the suite does so too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { remote, sandbox, sandboxOverStdio, serve, stdio } from './kit/house.js';
import { approve } from './kit/person.js';
import { assertDone, assertHeld, remove, restore, server, still, tools, writes } from './kit/story.js';

/** Follows a request until it has ended. */
async function ended(client, request) {
  for (let left = 20; left > 0 && ['held', 'approved', 'running'].includes(request.state); left--) {
    ({ request } = (await client.call('get_request', { request_id: request.id, wait_seconds: 20 })).data);
  }
  return request;
}

/** All that a restore or a delete would change. */
async function everything(client) {
  const servers = await client.call('list_servers');
  const points = await client.call('list_recovery_points', { server });
  return still([servers.data, points.data]);
}

async function refused(client, name, args, kind, sentence) {
  const { isError, data } = await client.call(name, args);
  assert.equal(isError, true);
  assert.equal(data.error.kind, kind);
  assert.match(data.error.message, sentence);
}

async function story(t, house, { connect, version }) {
  const client = await connect(t, house);

  await t.test(`speaks ${version} and lists the tools`, async () => {
    assert.equal(client.version, version);
    assert.deepEqual(
      (await client.listTools()).map(tool => tool.name),
      tools,
    );
  });

  await t.test('lists snapshots a page at a time', async () => {
    const seen = [];
    let cursor;
    do {
      const { data } = await client.call('list_snapshots', { limit: 3, ...(cursor && { cursor }) });
      assert.ok(data.snapshots.length <= 3);
      seen.push(...data.snapshots.map(s => s.id));
      cursor = data.next_cursor;
      if (!cursor) assert.equal(seen.length, data.total);
    } while (cursor);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(seen.includes(801) && seen.includes(798));
  });

  await t.test('is told what was wrong with its arguments', async () => {
    await refused(client, 'list_snapshots', { limit: 0 }, 'invalid', /limit must be a whole number from 1 to 100, not 0/);
    for (const id of ['801', 1.5, true, 0, null, 2 ** 53]) {
      await refused(client, 'restore_snapshot', { ...restore, snapshot_id: id }, 'invalid', /snapshot_id/);
    }
  });

  let request;
  await t.test('asks to restore: held, and nothing is changed', async () => {
    const before = await everything(client);
    request = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
    const { data } = await client.call('restore_snapshot', restore);
    assert.equal(data.request.id, request.id, 'asked twice is one request');
    assert.deepEqual(await everything(client), before);
    if (house.witness) assert.deepEqual(await writes(house), []);
  });

  await t.test('waits while a person confirms, and sees the way back', async () => {
    const following = ended(client, request);
    const { code, screen } = await (await approve(t, house, request.id)).leaves();
    assert.equal(code, 0, screen);
    const copy = assertDone(await following);
    const { data } = await client.call('list_snapshots', { server });
    assert.ok(data.snapshots.some(s => s.id === copy.id && s.status === 'completed'));
    if (house.witness) {
      assert.deepEqual(await writes(house), ['create /snapshots/', 'overwrite /snapshots/801/restore/']);
      assert.equal((await house.witness()).data, 'snapshot:801');
    }
  });

  await t.test('asks to delete: held, denied, and refused when it asks again', async () => {
    const before = await everything(client);
    const { id } = assertHeld(await client.call('delete_snapshot', remove), 'delete_snapshot');
    const { code, stderr } = await house.command('requests', 'deny', id, '--reason', 'keep it');
    assert.equal(code, 0, stderr);
    assert.equal((await client.call('get_request', { request_id: id })).data.request.state, 'denied');
    await refused(client, 'delete_snapshot', remove, 'forbidden', /denied|refused/);
    assert.deepEqual(await everything(client), before);
    if (house.witness) assert.equal((await writes(house)).length, 2);
  });

  await t.test('leaves a whole audit', async () => {
    const { code, stdout, stderr } = await house.command('audit', 'verify');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /The audit is whole: \d+ records, 2 requests\./);
  });
}

for (const [name, build, who] of [
  ['vpsguard stdio', stdio, clients],
  ['vpsguard serve over HTTP', serve, clients],
  // What knows only stdio, far from the server: the same again, with a token.
  ['vpsguard serve through mcp-remote', remote, [clients[0], clients[2]]],
  // In the sandbox each era once: it is the same server on built-in parts.
  ['vpsguard sandbox --stdio', sandboxOverStdio, [clients[0], clients[2]]],
  ['vpsguard sandbox over HTTP', sandbox, [clients[0], clients[2]]],
]) {
  for (const client of who) {
    test(`${client.name} and ${name}`, async t => story(t, await build(t), client));
  }
}
