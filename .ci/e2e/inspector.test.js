// The whole story, told with the MCP Inspector's command line: an agent lists, takes, asks to restore and to delete;
// a person at the host's terminal decides. After each step the story looks whether anything was changed that nobody
// confirmed: in what the lists say, and where VPS.org is a process with a witness, in what arrived there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sandbox, sandboxOverStdio, serve, stdio } from './kit/house.js';
import { callTool, codes, listTools } from './kit/inspector.js';
import { approve } from './kit/person.js';
import { assertDone, assertHeld, remove, restore, server, still, tools, writes } from './kit/story.js';

/** Calls a tool that has to work. */
async function works(house, name, args) {
  const answer = await callTool(house, name, args);
  assert.equal(answer.code, codes.ok, answer.stderr + answer.text);
  assert.notEqual(answer.result.isError, true);
  return answer;
}

/** Calls a tool that has to be refused, with a kind and a sentence. */
async function refused(house, name, args, kind, sentence) {
  const answer = await callTool(house, name, args);
  assert.equal(answer.code, codes.toolError, answer.stderr);
  assert.equal(answer.result.isError, true);
  assert.equal(answer.data.error.kind, kind);
  assert.match(answer.data.error.message, sentence);
  return answer;
}

/** All that a client can see of what a restore or a delete would change. */
async function everything(house) {
  const seen = {};
  for (const [name, args] of [
    ['list_servers', {}],
    ['list_snapshots', { limit: 100 }],
    ['list_backups', { limit: 100 }],
    ['list_recovery_points', { server }],
  ]) {
    seen[name] = still((await works(house, name, args)).data);
  }
  return seen;
}

async function lists(t, house) {
  await t.test('tools/list: all tools, with schemas that every client can take', async () => {
    const { code, result, stderr } = await listTools(house);
    assert.equal(code, codes.ok, stderr);
    assert.deepEqual(
      result.tools.map(tool => tool.name),
      tools,
    );
    for (const tool of result.tools) {
      const says = Object.keys(tool.annotations).sort();
      assert.deepEqual(says, ['destructiveHint', 'idempotentHint', 'openWorldHint', 'readOnlyHint', 'title'], tool.name);
      assert.equal(tool.annotations.destructiveHint, /^(restore|delete|prune)_/.test(tool.name), tool.name);
      assert.equal(tool.annotations.readOnlyHint, /^(list|get)_/.test(tool.name), tool.name);
      assert.ok(tool.outputSchema, tool.name);
      for (const argument of Object.keys(tool.inputSchema.properties)) {
        assert.doesNotMatch(argument, /confirm|force|approve|yes/i, `${tool.name} takes no consent from a model`);
      }
    }
  });

  await t.test('list_snapshots: the two of web-server-01', async () => {
    const { data, text } = await works(house, 'list_snapshots', { server });
    assert.equal(data.total, 2);
    assert.deepEqual(
      data.snapshots.map(s => s.id),
      [801, 798],
    );
    assert.match(text, /801 pre-migration-snapshot of web-server-01, completed/);
  });

  await t.test('wrong arguments are refused with a sentence (exit 5), and nothing is filed', async () => {
    await refused(house, 'list_snapshots', { limit: 0 }, 'invalid', /limit must be a whole number from 1 to 100/);
    await refused(house, 'restore_snapshot', { server, reason: 'no id' }, 'invalid', /needs the argument "snapshot_id"/);
    await refused(house, 'restore_snapshot', { ...restore, snapshot_id: -1 }, 'invalid', /snapshot_id/);
    await refused(house, 'restore_snapshot', { ...restore, snapshot_id: 1.5 }, 'invalid', /snapshot_id/);
    await refused(house, 'restore_snapshot', { ...restore, confirm: true }, 'invalid', /has no argument "confirm"/);
    await refused(house, 'restore_snapshot', { ...restore, server: 'db-server-01' }, 'invalid', /snapshot 801 is of web-server-01 \(12345\), not of db-server-01/);
    await refused(house, 'restore_snapshot', { ...restore, server: 'web-server' }, 'not_found', /there is no server "web-server"/);
    const { code } = await callTool(house, 'approve_request', { request_id: 'rq_7f3k9c' });
    assert.equal(code, codes.toolError, 'there is no tool that approves');
    assert.equal((await works(house, 'list_requests', {})).data.total, 0);
  });
}

async function creates(t, house) {
  await t.test('create_snapshot with wait: carried out at once, and waited for', async () => {
    const { data } = await works(house, 'create_snapshot', { server, name: 'before-deploy', wait: true });
    const made = await ended(house, data.request);
    assert.equal(made.state, 'done');
    const { id } = made.result.created;
    const { data: after } = await works(house, 'list_snapshots', { server });
    assert.equal(after.snapshots.find(s => s.id === id)?.status, 'completed');
    assert.equal(after.total, 3);
  });
}

/** Follows a request as a client does, until it has ended. */
async function ended(house, request) {
  for (let left = 20; left > 0 && ['held', 'approved', 'running'].includes(request.state); left--) {
    ({ request } = (await works(house, 'get_request', { request_id: request.id, wait_seconds: 20 })).data);
  }
  return request;
}

async function restores(t, house) {
  let request;
  const before = await everything(house);
  const written = house.witness && (await writes(house));

  await t.test('restore_snapshot: held, and nothing is changed', async () => {
    const answer = await works(house, 'restore_snapshot', restore);
    request = assertHeld(answer, 'restore_snapshot');
    assert.match(answer.text, /Everything written to web-server-01 since .* is overwritten/);
  });

  await t.test('asked again, and by the newer protocol: the same request', async () => {
    for (const era of ['legacy', 'modern']) {
      const { data } = await callTool(house, 'restore_snapshot', { ...restore, reason: 'again' }, era);
      assert.equal(data.request.id, request.id, era);
    }
  });

  await t.test('who has no terminal, types another name or another passphrase confirms nothing (exit 1)', async () => {
    const alone = await house.command('requests', 'approve', request.id);
    assert.equal(alone.code, 1);
    assert.match(alone.stderr, /takes a person at a terminal/);
    for (const wrong of [{ type: 'db-server-01' }, { passphrase: 'not the passphrase' }]) {
      const { code, screen } = await (await approve(t, house, request.id, wrong)).leaves();
      assert.equal(code, 1, screen);
    }
    assert.equal((await house.request(request.id)).state, 'held');
    assert.deepEqual(await everything(house), before);
    if (house.witness) assert.deepEqual(await writes(house), written);
  });

  await t.test('confirmed at the terminal: a safety copy, then the restore, and the way back', async () => {
    const following = ended(house, request);
    const person = await approve(t, house, request.id);
    const { code, screen } = await person.leaves();
    assert.equal(code, 0, screen);
    assert.match(screen, /restore snapshot: done/);
    const copy = assertDone(await following);
    assert.match(screen, new RegExp(`undo: restore snapshot ${copy.id} "${copy.name}"`));
    const { text } = await works(house, 'get_request', { request_id: request.id });
    assert.match(text, new RegExp(`Way back: .* snapshot ${copy.id} "${copy.name}"`));
    const { data } = await works(house, 'list_snapshots', { server });
    assert.equal(data.snapshots.find(s => s.id === copy.id)?.status, 'completed');
    if (house.witness) {
      assert.deepEqual(await writes(house), [...written, 'create /snapshots/', 'overwrite /snapshots/801/restore/']);
      assert.equal((await house.witness()).data, 'snapshot:801');
    }
  });
}

async function deletes(t, house) {
  let request;
  const before = await everything(house);
  const written = house.witness && (await writes(house));

  await t.test('delete_snapshot: held; refused at the terminal; the agent is told why', async () => {
    request = assertHeld(await works(house, 'delete_snapshot', remove), 'delete_snapshot');
    const { code, stdout, stderr } = await house.command('requests', 'deny', request.id, '--reason', 'we still need it');
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`${request.id} is denied`));
    const { data, text } = await works(house, 'get_request', { request_id: request.id });
    assert.equal(data.request.state, 'denied');
    assert.match(text, /we still need it/);
  });

  await t.test('asked again after the refusal: refused (exit 5), and nothing was deleted', async () => {
    await refused(house, 'delete_snapshot', remove, 'forbidden', /denied|refused/);
    assert.deepEqual(await everything(house), before);
    if (house.witness) assert.deepEqual(await writes(house), written);
  });
}

async function audited(t, house, requests) {
  await t.test('audit verify: whole (exit 0), and the record names who agreed', async () => {
    const { code, stdout, stderr } = await house.command('audit', 'verify', '--output', 'json');
    assert.equal(code, 0, stderr);
    const found = JSON.parse(stdout);
    assert.equal(found.ok, true);
    assert.equal(found.requests, requests);
    const { stdout: list } = await house.command('audit', 'list', '--limit', '100');
    for (const event of ['request.held', 'request.approved', 'operation.started', 'request.denied']) {
      assert.ok(list.includes(event), `${event} is not in\n${list}`);
    }
  });
}

for (const [name, build] of [
  ['vpsguard serve, over HTTP', serve],
  ['vpsguard stdio, a process a call', stdio],
  ['vpsguard sandbox, over HTTP', sandbox],
]) {
  test(`Inspector and ${name}`, async t => {
    const house = await build(t);
    await lists(t, house);
    await creates(t, house);
    await restores(t, house);
    await deletes(t, house);
    await audited(t, house, 3);
  });
}

test('Inspector and vpsguard sandbox --stdio, which lives for one call', async t => {
  const house = await sandboxOverStdio(t);
  await lists(t, house);
  await t.test('restore_snapshot: held', async () => {
    assertHeld(await works(house, 'restore_snapshot', restore), 'restore_snapshot');
  });
});
