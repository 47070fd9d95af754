// The ways in which vpsguard is run: as a sandbox, or with a ledger of its own beside a simulated VPS.org that has
// a witness. A house tells clients how to reach it, and people how to decide there.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setPassphrase } from './person.js';
import { run, start, surroundings, vpsguard, vpsorg } from './process.js';

const token = 'e2e-token-4f9c2a7d81e6b350';

/** A simulated VPS.org. */
async function simulate(t, env) {
  const world = start(t, vpsorg, [], { ...env, VPSORG_TOKEN: token });
  const { api, witness } = JSON.parse((await world.prints(/.*\n/))[0]);
  return { api, witness: async () => (await fetch(witness)).json() };
}

const house = fields => ({
  vpsguard,
  program: vpsguard,
  passphrase: 'sandbox',
  desk: (...args) => args,
  /** Runs one of the commands, without a terminal. */
  async command(...args) {
    return run(vpsguard, this.desk(...args), this.env);
  },
  /** How a request stands, as the host's own people see it. */
  async request(id) {
    const shown = await this.command('requests', 'show', id, '--output', 'json');
    assert.equal(shown.code, 0, shown.stderr);
    return JSON.parse(shown.stdout).request;
  },
  ...fields,
});

/** vpsguard with a ledger of its own, beside a simulated VPS.org, with more settings where given. */
async function real(t, settings = {}) {
  const env = await surroundings(t);
  const world = await simulate(t, env);
  const own = house({
    env: {
      ...env,
      VPSGUARD_API_URL: world.api,
      VPSGUARD_API_TOKEN: token,
      VPSGUARD_DATABASE: `sqlite:${join(env.HOME, 'ledger.db')}`,
      VPSGUARD_POLL_EVERY: '200ms',
      VPSGUARD_LOG_FORMAT: 'json',
      VPSGUARD_ADDR: '127.0.0.1:0',
      ...settings,
    },
    passphrase: 'correct horse battery',
    witness: world.witness,
  });
  const { code, screen } = await setPassphrase(t, own);
  assert.equal(code, 0, screen);
  return own;
}

/** Waits until a server says that all its parts are ready: it answers before they are. */
export async function becomesReady(base) {
  for (let left = 100; ; left--) {
    const answer = await fetch(`${base}/readyz`);
    const says = await answer.text();
    if (answer.status === 200) return;
    assert.equal(answer.status, 503, says);
    assert.ok(left > 0, `it does not become ready: ${says}`);
    await setTimeout(100);
  }
}

/** vpsguard serve. */
export async function serve(t, settings) {
  const own = await real(t, settings);
  own.server = start(t, vpsguard, ['serve'], own.env);
  own.url = (await own.server.prints(/"url":"([^"]+)"/, { stream: 'stderr' }))[1];
  return own;
}

/** Makes a token; a server takes it at once, and wants one from then on. */
export async function makeToken(house, name, role = 'operate') {
  const { code, stdout, stderr } = await house.command('token', 'new', name, '--role', role);
  assert.equal(code, 0, stderr);
  for (let left = 100; (await fetch(house.url, { method: 'POST' })).status !== 401; left--) {
    assert.ok(left > 0, 'the server goes on without tokens');
    await setTimeout(100);
  }
  return stdout.trim();
}

const proxy = fileURLToPath(new URL('../node_modules/mcp-remote/dist/proxy.js', import.meta.url));

/** What a client that knows nothing but stdio starts, to reach a server over HTTP with a token. */
export const throughRemote = (house, token) => ({
  ...house,
  url: undefined,
  program: process.execPath,
  args: [proxy, house.url, '--header', 'Authorization:${AUTH_HEADER}'], // as the README has it
  env: { ...house.env, AUTH_HEADER: `Bearer ${token}` },
});

/** vpsguard serve, reached through mcp-remote with a token. */
export async function remote(t) {
  const own = await serve(t);
  return throughRemote(own, await makeToken(own, 'desk'));
}

/** vpsguard stdio, started by each client. */
export async function stdio(t, settings) {
  return { ...(await real(t, settings)), args: ['stdio'] };
}

/** vpsguard sandbox, over HTTP. */
export async function sandbox(t) {
  const env = await surroundings(t);
  const server = start(t, vpsguard, ['sandbox', '--addr', '127.0.0.1:0'], env);
  const url = (await server.prints(/MCP: (\S+)/))[1];
  return house({ env, server, url, desk: (...args) => [...args, '--sandbox'] });
}

/** vpsguard sandbox --stdio, started by each client. */
export async function sandboxOverStdio(t) {
  return house({ env: await surroundings(t), args: ['sandbox', '--stdio'], desk: (...args) => [...args, '--sandbox'] });
}
