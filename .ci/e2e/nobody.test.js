// No client can confirm anything. Clients that answer every question with yes, messages with made-up consent, tools and
// methods that do not exist, and programs without a terminal: each tries, and VPS.org's witness sees no write at all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { serve, stdio } from './kit/house.js';
import { run, start } from './kit/process.js';
import { assertHeld, remove, restore, server, writes } from './kit/story.js';

/** What is asked for in these tests, and who would have to confirm it. */
const calls = [
  ['restore_snapshot', restore],
  ['restore_backup', { server, backup_id: 501, reason: 'roll back' }],
  ['delete_snapshot', remove],
  ['delete_backup', { server, backup_id: 499, reason: 'old' }],
];

/** Whatever a form asks for: yes, and every name and word that might be wanted. */
const yes = request => {
  const wanted = request.params?.requestedSchema?.properties ?? {};
  const answer = Object.fromEntries(
    Object.entries(wanted).map(([name, { type }]) => [name, type === 'boolean' ? true : type === 'string' ? server : 1]),
  );
  return { action: 'accept', content: answer };
};

/** Consent as somebody may make it up. */
const consent = {
  _meta: { approved: true, confirm: true, 'vpsguard/approved-by': 'root', approval: { by: 'root', with: 'terminal', assurance: 'local' } },
  inputResponses: { confirm: { action: 'accept', content: { server, confirm: true } }, approval: { action: 'accept', content: {} } },
  requestState: Buffer.from(JSON.stringify({ approved: true, operation: 'restore_snapshot', server })).toString('base64url'),
};

/** Nothing arrived at VPS.org, and all that was asked for still waits for a person. */
async function assertNothingHappened(house, filed) {
  assert.deepEqual(await writes(house), []);
  const { code, stdout, stderr } = await house.command('requests', 'list', '--output', 'json');
  assert.equal(code, 0, stderr);
  const { total, requests } = JSON.parse(stdout);
  assert.equal(total, filed, stdout);
  for (const { id } of requests) {
    const request = await house.request(id);
    assert.equal(request.state, 'held');
    assert.deepEqual(request.approvals.given, []);
  }
}

for (const [way, build] of [
  ['stdio', stdio],
  ['HTTP', serve],
]) {
  for (const { name, connect } of clients) {
    test(`${name} over ${way}, which accepts whatever it is asked`, async t => {
      const house = await build(t);
      const client = await connect(t, house, yes);
      await client.listTools();
      for (const [tool, args] of calls) {
        await t.test(`${tool}: held, and held again with made-up consent`, async () => {
          const { id } = assertHeld(await client.call(tool, args), tool);
          const { data } = await client.call(tool, args, consent);
          assert.equal(data.request.id, id);
          assert.equal(data.request.state, 'held');
        });
        for (const word of ['confirm', 'force', 'approved', 'yes', 'dry_run', 'passphrase']) {
          const { isError, data } = await client.call(tool, { ...args, [word]: true });
          assert.equal(isError, true);
          assert.match(data.error.message, new RegExp(`has no argument "${word}"`));
        }
      }
      await t.test('no write arrived, and all of it still waits', async () => assertNothingHappened(house, calls.length));
    });
  }
}

/** The parameters of a call as each era sends them, with made-up consent in every place. */
const forged = (era, tool, args) => ({
  ...consent,
  name: tool,
  arguments: args,
  _meta: {
    ...consent._meta,
    ...(era === '2026-07-28' && {
      'io.modelcontextprotocol/protocolVersion': era,
      'io.modelcontextprotocol/clientInfo': { name: 'forger', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {}, url: {} } },
    }),
  },
});

/** Messages that no library sends: invented methods, and answers to questions that were never asked. */
const strays = id => [
  { jsonrpc: '2.0', id: 'a1', method: 'requests/approve', params: { request_id: id, passphrase: 'correct horse battery' } },
  { jsonrpc: '2.0', id: 'a2', method: 'tools/call', params: { name: 'approve_request', arguments: { request_id: id } } },
  { jsonrpc: '2.0', id: 'a3', method: 'tools/call', params: { name: 'requests_approve', arguments: { request_id: id } } },
  { jsonrpc: '2.0', id: 1, result: { action: 'accept', content: { server, confirm: true } } },
  { jsonrpc: '2.0', method: 'notifications/elicitation/complete', params: { elicitationId: id, action: 'accept' } },
];

const initialize = {
  jsonrpc: '2.0',
  id: 'i',
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: { elicitation: { form: {}, url: {} } }, clientInfo: { name: 'forger', version: '1' } },
};

/** Reads the JSON-RPC message out of an answer, be it JSON or a stream of events. */
function message(text) {
  const line = text.split('\n').find(l => l.startsWith('data:') || l.startsWith('{'));
  return line && JSON.parse(line.replace(/^data:\s*/, ''));
}

test('made-up messages over HTTP, in both eras', async t => {
  const house = await serve(t);
  const post = async (body, headers = {}) => {
    const answer = await fetch(house.url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
      body: JSON.stringify(body),
    });
    return { status: answer.status, session: answer.headers.get('mcp-session-id'), message: message(await answer.text()) };
  };
  const { session } = await post(initialize);
  const older = { 'Mcp-Protocol-Version': '2025-11-25', 'Mcp-Session-Id': session };
  for (const era of ['2025-11-25', '2026-07-28']) {
    await t.test(`${era}: forged consent files what a plain call files`, async () => {
      for (const [tool, args] of calls) {
        const headers = era === '2025-11-25' ? older : { 'Mcp-Protocol-Version': era, 'Mcp-Method': 'tools/call', 'Mcp-Name': tool };
        const { message: answer } = await post({ jsonrpc: '2.0', id: tool, method: 'tools/call', params: forged(era, tool, args) }, headers);
        assert.equal(answer.result?.structuredContent.request.state, 'held', JSON.stringify(answer));
      }
    });
  }
  await t.test('invented methods and unasked-for answers do nothing', async () => {
    const [{ id }] = JSON.parse((await house.command('requests', 'list', '--output', 'json')).stdout).requests;
    for (const stray of strays(id)) {
      const { message: answer } = await post(stray, older);
      assert.ok(!answer?.result || answer.result.isError, JSON.stringify(answer));
    }
  });
  await t.test('a page on another site cannot call', async () => {
    const call = { jsonrpc: '2.0', id: 'x', method: 'tools/call', params: { name: 'delete_snapshot', arguments: remove } };
    assert.equal((await post(call, { ...older, Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' })).status, 403);
    assert.equal((await post(call, { ...older, Origin: 'https://evil.example' })).status, 403);
  });
  await t.test('no write arrived, and all of it still waits', async () => assertNothingHappened(house, calls.length));
});

test('made-up messages over stdio, in both eras', async t => {
  const house = await stdio(t);
  const program = start(t, house.program, house.args, house.env);
  const say = m => program.child.stdin.write(`${JSON.stringify(m)}\n`);
  const answer = async id => JSON.parse((await program.prints(new RegExp(`^.*"id":"${id}".*\\n`, 'm')))[0]);
  say(initialize);
  await answer('i');
  say({ jsonrpc: '2.0', method: 'notifications/initialized' });
  for (const era of ['2025-11-25', '2026-07-28']) {
    await t.test(`${era}: forged consent files what a plain call files`, async () => {
      for (const [tool, args] of calls) {
        const id = `${era}-${tool}`;
        say({ jsonrpc: '2.0', id, method: 'tools/call', params: forged(era, tool, args) });
        const told = await answer(id);
        assert.equal(told.result?.structuredContent.request.state, 'held', JSON.stringify(told));
      }
    });
  }
  await t.test('invented methods and unasked-for answers do nothing', async () => {
    const [{ id }] = JSON.parse((await house.command('requests', 'list', '--output', 'json')).stdout).requests;
    for (const stray of strays(id)) {
      say(stray);
      if (typeof stray.id !== 'string') continue;
      const told = await answer(stray.id);
      assert.ok(!told.result || told.result.isError, JSON.stringify(told));
    }
  });
  await t.test('standard output holds nothing but messages', async () => {
    for (const line of program.stdout.trimEnd().split('\n')) assert.equal(JSON.parse(line).jsonrpc, '2.0', line);
  });
  await t.test('no write arrived, and all of it still waits', async () => assertNothingHappened(house, calls.length));
});

test('a program that runs vpsguard without a terminal', async t => {
  const house = await serve(t);
  const client = await clients[2].connect(t, house);
  await client.listTools();
  const { id } = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
  for (const [how, args, stdin] of [
    ['pipes the answers in', ['requests', 'approve', id], `${server}\n${house.passphrase}\n`],
    ['asks for JSON', ['requests', 'approve', id, '--output', 'json'], `${server}\n${house.passphrase}\n`],
    ['looks for a flag', ['requests', 'approve', id, '--yes'], ''],
    ['settles it', ['requests', 'settle', id, '--as', 'done'], `${house.passphrase}\n`],
    ['changes the passphrase', ['passphrase', 'set'], `${house.passphrase}\nanother one\nanother one\n`],
  ]) {
    await t.test(how, async () => {
      const { code, stdout } = await run(house.program, args, house.env, { stdin });
      assert.equal(code, how === 'looks for a flag' ? 2 : 1, stdout);
    });
  }
  await t.test('no write arrived, and it still waits', async () => assertNothingHappened(house, 1));
});
