// An app on Slack's own framework, as small as one that approves can be. A Go test
// (slackbot/slackfake) starts it and plays the people. It says "ready PORT" on
// standard output and ends when standard input does.
import bolt from '@slack/bolt';

const { App, HTTPReceiver, LogLevel } = bolt;
const { SLACK_URL, BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, MODE } = process.env;

const clientOptions = { slackApiUrl: `${SLACK_URL}/api/`, allowAbsoluteUrls: false };
const common = { token: BOT_TOKEN, clientOptions, logLevel: LogLevel.WARN };
const app =
  MODE === 'socket'
    ? new App({ ...common, appToken: APP_TOKEN, socketMode: true })
    : new App({ ...common, receiver: new HTTPReceiver({ signingSecret: SIGNING_SECRET, logLevel: LogLevel.WARN }) });

const button = (action_id, text, style) => ({
  type: 'button', action_id, value: 'r1', text: { type: 'plain_text', text }, ...(style && { style }),
});

app.command('/vps', async ({ command, ack, client }) => {
  if (command.text === 'help') {
    await ack({ response_type: 'ephemeral', text: 'one screen of help' });
    return;
  }
  if (command.text === 'sleep') {
    return; // never acknowledged
  }
  await ack();
  await client.chat.postMessage({
    channel: command.channel_id,
    text: `restore web-01, asked by <@${command.user_id}>`,
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text: `*restore web-01*, asked by <@${command.user_id}>` } },
      { type: 'actions', block_id: 'decide', elements: [button('approve', 'Approve…'), button('deny', 'Deny…', 'danger')] },
    ],
  });
});

app.action('approve', async ({ body, ack, client }) => {
  await client.views.open({
    trigger_id: body.trigger_id,
    view: {
      type: 'modal', callback_id: 'approval', private_metadata: JSON.stringify([body.channel.id, body.message.ts]),
      title: { type: 'plain_text', text: 'Approve' }, submit: { type: 'plain_text', text: 'Approve' },
      blocks: [
        {
          type: 'input', block_id: 'name', label: { type: 'plain_text', text: "Server's name" },
          element: { type: 'plain_text_input', action_id: 'name' },
        },
        {
          type: 'input', block_id: 'point', optional: true, label: { type: 'plain_text', text: 'Point' },
          element: { type: 'external_select', action_id: 'point', min_query_length: 0 },
        },
      ],
    },
  });
  await ack();
});

app.action('deny', async ({ ack, respond }) => {
  await ack();
  await respond({ replace_original: true, text: 'denied' });
});

app.options('point', async ({ payload, ack }) => {
  await ack({ options: [{ text: { type: 'plain_text', text: `snap of ${payload.value}` }, value: '801' }] });
});

app.view('approval', async ({ view, body, ack, client }) => {
  if (view.state.values.name.name.value !== 'web-01') {
    await ack({ response_action: 'errors', errors: { name: 'that is not its name' } });
    return;
  }
  await ack();
  const [channel, ts] = JSON.parse(view.private_metadata);
  await client.chat.update({ channel, ts, text: `approved by <@${body.user.id}>`, blocks: [] });
});

app.event('app_mention', async ({ event, client }) => {
  await client.chat.postMessage({ channel: event.channel, thread_ts: event.thread_ts ?? event.ts, text: `you said: ${event.text}` });
});

app.error(async (err) => {
  console.error(`app error: ${err.stack ?? err}`);
});

const server = await app.start(0);
console.log(`ready ${MODE === 'socket' ? 0 : server.address().port}`);
process.stdin.resume();
process.stdin.on('end', async () => {
  await app.stop();
  process.exit(0);
});
