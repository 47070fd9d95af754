// Bolt's verifier on the corpus of package slackfake, which a Go test writes down.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import bolt from '@slack/bolt';

const corpus = JSON.parse(readFileSync(process.env.SLACK_CORPUS, 'utf8'));

for (const row of corpus) {
  test(`${row.name}: ${row.bolt ? 'accepted' : 'refused'} by Bolt`, () => {
    const accepted = row.secrets.some((signingSecret) =>
      bolt.isValidSlackRequest({
        signingSecret,
        body: row.body,
        headers: { 'x-slack-signature': row.signature, 'x-slack-request-timestamp': Number(row.timestamp) },
        nowMilliseconds: row.now * 1000,
      }),
    );
    assert.equal(accepted, row.bolt);
  });
}

test('the only differences are those that are known', () => {
  assert.deepEqual(
    corpus.filter((row) => row.bolt !== row.valid).map((row) => row.name),
    ['301 s ahead', 'a day ahead'],
  );
});
