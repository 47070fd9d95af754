// Slack's own clients against the fake, which a Go test has started.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { SocketModeClient } from '@slack/socket-mode';
import { ErrorCode, WebClient } from '@slack/web-api';

const { SLACK_URL, BOT_TOKEN, APP_TOKEN } = process.env;
const slackApiUrl = `${SLACK_URL}/api/`;
const web = new WebClient(BOT_TOKEN, { slackApiUrl });

test('auth.test and the directory', async () => {
  const me = await web.auth.test();
  assert.equal(me.user_id, 'U0VPSGUARD');
  assert.ok(me.response_metadata.scopes.includes('chat:write'));
  const { user } = await web.users.info({ user: 'U1' });
  assert.equal(user.tz, 'Europe/London');
  const { channel } = await web.conversations.info({ channel: 'C1' });
  assert.equal(channel.is_member, true);
  const pages = [];
  for await (const page of web.paginate('conversations.members', { channel: 'C1', limit: 3 })) {
    pages.push(page.members.length);
  }
  assert.deepEqual(pages, [3, 1]);
});

test('a 429 is waited for, as Retry-After says', async () => {
  const began = Date.now();
  let limited = 0;
  web.on('rate_limited', (seconds) => {
    limited += 1;
    assert.equal(seconds, 1);
  });
  const first = await web.chat.postMessage({ channel: 'C1', text: '50% & more, 🦊 <@U1>' });
  const second = await web.chat.postMessage({ channel: 'C1', text: 'second' });
  assert.ok(first.ts < second.ts);
  assert.equal(first.message.text, '50% & more, 🦊 <@U1>');
  assert.equal(limited, 1);
  assert.ok(Date.now() - began >= 1000);
});

test('errors are platform errors with their details', async () => {
  await assert.rejects(web.chat.update({ channel: 'C1', ts: '1700000000.000001', text: 'x' }), (err) => {
    assert.equal(err.code, ErrorCode.PlatformError);
    assert.equal(err.data.error, 'message_not_found');
    return true;
  });
  const title = { type: 'plain_text', text: 'x'.repeat(25) };
  await assert.rejects(web.views.open({ trigger_id: '1.2.3', view: { type: 'modal', title, blocks: [] } }), (err) => {
    assert.equal(err.data.error, 'invalid_arguments');
    assert.match(err.data.response_metadata.messages[0], /must be less than 25 characters \[json-pointer:\/view\/title\/text\]/);
    return true;
  });
});

test('Socket Mode opens, is told hello, and closes', async () => {
  const client = new SocketModeClient({ appToken: APP_TOKEN, clientOptions: { slackApiUrl } });
  const connected = once(client, 'connected');
  await client.start();
  await connected;
  await client.disconnect();
});

test('a wrong token is an unrecoverable start error', async () => {
  const client = new SocketModeClient({ appToken: 'xapp-wrong', clientOptions: { slackApiUrl } });
  client.on('error', () => {});
  await assert.rejects(client.start(), (err) => err.data?.error === 'invalid_auth');
});
