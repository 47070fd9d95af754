// Callers with tokens, as the clients send them: the TypeScript clients, the Inspector's command line, and mcp-remote for
// what knows only stdio. A token says who calls and how far it reaches; none confirms anything.
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { makeToken, serve, throughRemote } from './kit/house.js';
import { codes, inspect } from './kit/inspector.js';
import { run } from './kit/process.js';
import { assertHeld, restore, tools, writes } from './kit/story.js';

const reads = tools.filter(name => /^(list|get)_/.test(name));

/** The ways to carry a token. */
const ways = [
  ['in its own header', (house, token) => ({ ...house, token })],
  ['through mcp-remote', throughRemote],
];

for (const [way, carry] of ways) {
  for (const { name, connect } of [clients[0], clients[2]]) {
    test(`${name}, ${way}`, async t => {
      const house = await serve(t);
      const operate = await makeToken(house, 'deploys');
      const read = await makeToken(house, 'dashboard', 'read');

      await t.test('one that operates: its request names it, and is held', async t => {
        const client = await connect(t, carry(house, operate));
        assert.deepEqual((await client.listTools()).map(tool => tool.name), tools);
        const { requester } = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
        assert.equal(requester.name, 'deploys');
        assert.match(requester.calls_itself, /^e2e/);
      });

      await t.test('one that reads: it is offered nothing else, and granted nothing else', async t => {
        const client = await connect(t, carry(house, read));
        assert.deepEqual((await client.listTools()).map(tool => tool.name), reads);
        const { data } = await client.call('list_requests');
        assert.equal(data.total, 1);
        const refused = await client.ask({ name: 'restore_snapshot', arguments: restore }, {});
        assert.equal(refused.isError, true);
        assert.equal(refused.structuredContent.error.kind, 'forbidden');
        assert.deepEqual(await writes(house), []);
      });

      await t.test('one that was revoked, or never made: nobody', async t => {
        const { code, stderr } = await house.command('token', 'revoke', 'deploys');
        assert.equal(code, 0, stderr);
        await setTimeout(1100); // every server refuses it within a second
        for (const token of [operate, 'vpg_made-up', '']) {
          await assert.rejects(connect(t, { ...house, token }), /401|unauthorized|token/i);
        }
      });
    });
  }
}

test('mcp-remote with a token that does not count: it ends, and says so', async t => {
  const house = await serve(t);
  await makeToken(house, 'deploys');
  const { program, args, env } = throughRemote(house, 'vpg_made-up');
  const { code, stderr } = await run(program, args, env, { stdin: '{"jsonrpc":"2.0","id":1,"method":"ping"}\n' });
  assert.notEqual(code, 0, stderr);
  assert.match(stderr, /401|unauthorized|token/i);
});

test('the Inspector, with a token and without', async t => {
  const house = await serve(t);
  const token = await makeToken(house, 'deploys');
  for (const era of ['legacy', 'modern']) {
    const listed = await inspect(house, '--protocol-era', era, '--header', `Authorization: Bearer ${token}`, '--method', 'tools/list');
    assert.equal(listed.code, codes.ok, listed.stderr);
    assert.deepEqual(listed.result.tools.map(tool => tool.name), tools);
    assert.notEqual((await inspect(house, '--protocol-era', era, '--method', 'tools/list')).code, codes.ok);
  }
});
