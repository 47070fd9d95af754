// What happens on the way while a call is answered: connections that break, and progress.
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { test } from 'node:test';
import { clients } from './kit/clients.js';
import { serve, stdio } from './kit/house.js';
import { assertHeld, remove, restore, server, writes } from './kit/story.js';

/** A house whose next call loses its connection, once VPS.org was asked for something; its answer never arrives. */
function fragile(house) {
  let armed = false;
  const lose = async (url, init = {}) => {
    if (!armed || init.method !== 'POST' || !String(init.body).includes('"tools/call"')) return fetch(url, init);
    armed = false;
    const broken = new TypeError('the connection broke');
    const gone = new AbortController();
    const answer = fetch(url, { ...init, signal: gone.signal });
    while ((await writes(house)).length === 0) await setTimeout(10);
    gone.abort(broken);
    await answer.then(a => a.arrayBuffer());
    throw broken; // it had just been answered: nobody got it
  };
  return { ...house, fetch: lose, breakNext: () => (armed = true) };
}

for (const { name, connect } of clients) {
  test(`${name}: a call whose connection breaks, sent again, is the same request`, async t => {
    const house = fragile(await serve(t));
    const client = await connect(t, house);
    await client.listTools();
    const args = { server, name: 'before-deploy', wait: true };

    house.breakNext();
    await assert.rejects(client.call('create_snapshot', args), /the connection broke/);
    const { data } = await client.call('create_snapshot', args);
    assert.equal(data.request.state, 'done');
    assert.deepEqual(await writes(house), ['create /snapshots/'], 'it was sent once');

    // What is held is answered at once, so here the client gives up, and asks again and again.
    const asked = await Promise.allSettled(
      [1, 2, 3, 4, 5, 6].map(async n => client.call('restore_snapshot', restore, {}, { signal: AbortSignal.timeout(n) })),
    );
    const { id } = assertHeld(await client.call('restore_snapshot', restore), 'restore_snapshot');
    for (const answer of asked.filter(a => a.status === 'fulfilled')) assert.equal(answer.value.data.request.id, id);
    const { data: list } = await client.call('list_requests', { state: 'held' });
    assert.deepEqual(list.requests.map(r => r.id), [id]);
    assert.deepEqual(await writes(house), ['create /snapshots/']);
  });
}

for (const [way, build] of [
  ['stdio', stdio],
  ['HTTP', serve],
]) {
  for (const { name, connect } of clients) {
    test(`${name} over ${way}: progress, where it is asked for`, async t => {
      const house = await build(t);
      const client = await connect(t, house);
      await client.listTools();
      const told = [];
      const { data } = await client.call('create_snapshot', { server, name: 'with-progress', wait: true }, {}, { onprogress: p => told.push(p) });
      assert.equal(data.request.state, 'done');
      assert.ok(told.length > 0, 'it was told nothing');
      for (const [i, { progress, message }] of told.entries()) {
        assert.ok(i === 0 || progress > told[i - 1].progress, 'it goes on');
        assert.match(message, /web-server-01/);
      }

      // Held: it says that it waits, and the end of waiting is no end of the request.
      const { id } = assertHeld(await client.call('delete_snapshot', remove), 'delete_snapshot');
      told.length = 0;
      const waited = await client.call('get_request', { request_id: id, wait_seconds: 1 }, {}, { onprogress: p => told.push(p) });
      assert.equal(waited.data.request.state, 'held');
      for (const { message } of told) assert.match(message, /waits for a person/);
    });
  }
}
