// What the stories of several clients have in common: what there is, and how it is compared.
import assert from 'node:assert/strict';

/** The tools, in the order in which they are listed. */
export const tools = [
  'cancel_request',
  'create_backup',
  'create_snapshot',
  'delete_backup',
  'delete_snapshot',
  'get_request',
  'list_backups',
  'list_recovery_points',
  'list_requests',
  'list_servers',
  'list_snapshots',
  'prune_backups',
  'prune_snapshots',
  'restore_backup',
  'restore_snapshot',
];

export const server = 'web-server-01';
/** Rolls the server back. */
export const restore = { server, snapshot_id: 801, reason: 'the migration broke the shop' };
/** Deletes a snapshot. */
export const remove = { server, snapshot_id: 798, reason: 'no longer needed' };

/** What a list says, less what time alone changes. */
export const still = data => JSON.parse(JSON.stringify(data, (key, value) => (key === 'age_seconds' ? undefined : value)));

/** The writes that a simulated VPS.org has seen, as short lines. */
export async function writes(house) {
  const { writes: all } = await house.witness();
  return all.map(w => `${w.effect} ${w.path.replace('/api/v1', '')}${w.acted ? '' : ' (refused)'}`);
}

/** A held call is a normal answer that says what would be lost, who confirms, and that nothing has happened. */
export function assertHeld({ data, text }, operation) {
  const { request } = data;
  assert.equal(request.state, 'held');
  assert.equal(request.operation, operation);
  assert.match(request.id, /^rq_[a-z0-9]+$/);
  assert.ok(request.losses.length > 0, 'it says what would be lost');
  assert.deepEqual(request.approvals, { needed: 1, given: [] });
  assert.deepEqual(request.confirm_with, ["a person at the host's terminal"]);
  assert.match(text, /is HELD: it waits for a person to confirm it, and nothing has been changed\./);
  assert.match(text, /LOST: /);
  assert.match(text, /Tell your user/);
  assert.doesNotMatch(text, /requests approve|passphrase/i, 'a model is not told how to confirm');
  return request;
}

/** A restore that went through: confirmed by a person at the terminal, with its way back. */
export function assertDone(request) {
  assert.equal(request.state, 'done');
  assert.deepEqual(
    request.steps.map(s => [s.name, s.state]),
    [
      ['safety_copy', 'done'],
      ['restore_snapshot', 'done'],
    ],
  );
  assert.deepEqual(
    request.approvals.given.map(a => [a.with, a.assurance]),
    [['terminal', 'local']],
  );
  const copy = request.result.undo;
  assert.equal(copy.kind, 'snapshot');
  assert.match(copy.name, /^pre-restore-/);
  return copy;
}
