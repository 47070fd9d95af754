// Confirming in a form of the client, where the operator wrote elicitation down: with the official TypeScript clients, in both
// eras of the protocol and over both transports. What a form does not approve waits as before, and VPS.org's witness sees no write.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { serve, stdio } from './kit/house.js';
import { approve } from './kit/person.js';
import { remove, restore, server, writes } from './kit/story.js';

const settings = { VPSGUARD_CONFIRM: 'terminal,elicitation' };
const ways = ["a person at the host's terminal", 'the person in front of the client that asked, in a form there'];

/** Somebody in front of the client: does as told, and remembers what was asked. */
function somebody(does) {
  const user = async request => {
    user.seen.push(request.params);
    return does;
  };
  user.seen = [];
  return user;
}

const accept = content => ({ action: 'accept', content });
const right = accept({ server });

/** The request of a call that waits for people, of which nothing has been done. */
async function assertWaits(house, { isError, data, text }, says) {
  assert.ok(!isError, text);
  assert.equal(data.request.state, 'held');
  assert.deepEqual(data.request.approvals, { needed: 1, given: [] });
  assert.deepEqual(data.request.confirm_with, ways);
  if (says) assert.match(text, says);
  assert.doesNotMatch(text, /requests approve|passphrase/i, 'a model is not told how to confirm');
  assert.deepEqual(await writes(house), []);
  return data.request;
}

for (const [way, build] of [
  ['stdio', stdio],
  ['HTTP', serve],
]) {
  for (const { name, connect } of clients) {
    test(`${name} over ${way}`, async t => {
      const house = await build(t, settings);

      for (const [what, does, says] of [
        ['a wrong name', accept({ server: 'web-server-02' }), /"web-server-02" is not what was asked for; nothing was approved/],
        ['a decline', { action: 'decline' }, /The form approved nothing: declined, or no prompt was shown\./],
        ['a cancel', { action: 'cancel' }, /The form approved nothing: declined, or no prompt was shown\./],
      ]) {
        await t.test(`${what} approves nothing`, async t => {
          const user = somebody(does);
          const client = await connect(t, house, user);
          await client.listTools();
          await assertWaits(house, await client.call('restore_snapshot', restore), says);
          assert.equal(user.seen.length, 1, 'one form, and not again');
          await client.client.close();
        });
      }

      await t.test('an answer with the first call, before anybody was asked, approves nothing', async t => {
        const user = somebody(right);
        const client = await connect(t, house, user);
        await client.listTools();
        const made = { inputResponses: { form: right }, requestState: Buffer.from('approved').toString('base64url') };
        await assertWaits(house, await client.call('delete_snapshot', remove, { inputResponses: made.inputResponses }), /no form was shown for it/);
        await assertWaits(house, await client.call('delete_snapshot', remove, made), /answers no form of this vpsguard/);
        assert.equal(user.seen.length, 0);
        await client.client.close();
      });

      await t.test('a client without forms is held at once', async t => {
        const client = await connect(t, house);
        await client.listTools();
        await assertWaits(house, await client.call('restore_snapshot', restore), /is HELD/);
        await client.client.close();
      });

      await t.test('the name, typed, confirms exactly what was shown', async t => {
        const user = somebody(right);
        const client = await connect(t, house, user);
        await client.listTools();
        let { request } = (await client.call('restore_snapshot', restore)).data;
        const [form] = user.seen;
        for (const shown of [request.id, 'snapshot 801', 'web-server-01 (12345)', 'LOST: ', `Reason given: "${restore.reason}"`]) {
          assert.ok(form.message.includes(shown), `${shown}: ${form.message}`);
        }
        assert.deepEqual(form.requestedSchema.required, ['server']);
        assert.ok(['approved', 'running'].includes(request.state), request.state);
        while (['approved', 'running'].includes(request.state)) {
          ({ request } = (await client.call('get_request', { request_id: request.id, wait_seconds: 20 })).data);
        }
        assert.equal(request.state, 'done');
        assert.deepEqual(
          request.approvals.given.map(a => [a.with, a.assurance]),
          [['elicitation', 'claimed']],
        );
        assert.deepEqual(await writes(house), ['create /snapshots/', 'overwrite /snapshots/801/restore/']);
        await client.client.close();
      });

      await t.test('the record says who claimed it, and what was refused', async () => {
        const { stdout } = await house.command('audit', 'export');
        const records = stdout.split('\n').filter(Boolean).map(line => JSON.parse(line));
        const refusals = records.filter(r => JSON.stringify(r).includes('approval.refused'));
        assert.equal(refusals.length, 5, stdout);
        assert.match(stdout, /claimed/);
        assert.equal((await house.command('audit', 'verify')).code, 0);
      });
    });
  }
}

test('while a form is open, somebody at the terminal may decide first', async t => {
  const house = await serve(t, settings);
  let screen;
  const client = await clients[0].connect(t, house, async ({ params }) => {
    const [id] = params.message.match(/rq_[a-z0-9]+/);
    ({ screen } = await (await approve(t, house, id)).leaves());
    return right;
  });
  await client.listTools();
  const { data, text } = await client.call('delete_snapshot', remove);
  assert.match(text, /The form approved nothing: rq_\w+ was approved already, by /, screen);
  assert.equal(data.request.approvals.given.length, 1);
  assert.equal(data.request.approvals.given[0].with, 'terminal');
  assert.deepEqual(await writes(house), ['delete /snapshots/798/']);
});
