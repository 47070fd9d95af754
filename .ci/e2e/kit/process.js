// Programs that a suite starts: each with an environment of its own, each ended by its pid.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How long a suite waits for what should come soon. */
export const patience = 30_000;

/** What .ci/run hands to the suites. */
export const given = name => {
  if (!process.env[name]) throw new Error(`${name} is not set; these suites are run by: bash .ci/run e2e`);
  return process.env[name];
};

/** The program under test, as it was built. */
export const vpsguard = given('E2E_VPSGUARD');
/** A simulated VPS.org in a process of its own. */
export const vpsorg = given('E2E_VPSORG');
/** The checkout. */
export const checkout = given('E2E_CHECKOUT');

const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

const ends = new WeakMap();

/** Does something when the test has ended, the last first. */
export function atEnd(t, act) {
  if (!ends.has(t)) {
    ends.set(t, []);
    t.after(async () => {
      for (const end of ends.get(t).reverse()) await end();
    });
  }
  ends.get(t).push(act);
}

/** A temporary folder, gone after the test. */
export async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), 'vpsguard-e2e-'));
  atEnd(t, () => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** An environment that has nothing but what programs need, with a home of its own. */
export async function surroundings(t) {
  const home = await folder(t);
  return { PATH: process.env.PATH, HOME: home, TMPDIR: home, TERM: 'dumb', LANG: 'C.UTF-8', NO_COLOR: '1' };
}

/** A started program: what it printed, waiting for what it will print, and its end. */
export class Program {
  constructor(command, args, options) {
    this.stdout = this.stderr = '';
    this.shown = [command, ...args].join(' ');
    this.waiting = new Set();
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    running.add(this.child);
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        running.delete(this.child);
        this.code = code ?? signal;
        for (const look of this.waiting) look();
        resolve(this.code);
      });
    });
    this.ended.catch(() => {}); // told to whoever waits
    for (const stream of ['stdout', 'stderr']) {
      this.child[stream].setEncoding('utf8').on('data', text => {
        this[stream] += text;
        for (const look of this.waiting) look();
      });
    }
    this.child.stdin.on('error', () => {}); // it ended before it read everything
  }

  /** Waits until a stream matches, from an offset on; gives the match. */
  prints(pattern, { stream = 'stdout', from = 0, within = patience } = {}) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(late);
        this.waiting.delete(look);
        settle(value);
      };
      const look = () => {
        const match = this[stream].slice(from).match(pattern);
        if (match) done(resolve, match);
        else if (this.code !== undefined) done(reject, this.#without(`ended with ${this.code}`, pattern));
      };
      const late = setTimeout(() => done(reject, this.#without('went on', pattern)), within);
      this.waiting.add(look);
      look();
    });
  }

  #without(how, pattern) {
    return new Error(`${this.shown}\n${how} without printing ${pattern}\n${this.stdout}\n${this.stderr}`);
  }

  /** Ends it as an operator would, and by force where that takes too long. */
  async stop() {
    if (this.code === undefined) {
      this.child.kill('SIGTERM');
      const force = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
      await this.ended;
      clearTimeout(force);
    }
    return this.code;
  }
}

/** Starts a program that lives until the test ends. */
export function start(t, command, args, env, options = {}) {
  const program = new Program(command, args, { env, ...options });
  atEnd(t, () => program.stop());
  return program;
}

/** Runs a program to its end. It has no terminal, as what runs in the background. */
export async function run(command, args, env, { stdin = '', within = 120_000, cwd } = {}) {
  const program = new Program(command, args, { env, cwd, detached: true });
  const late = setTimeout(() => program.child.kill('SIGKILL'), within);
  program.child.stdin.end(stdin);
  const code = await program.ended;
  clearTimeout(late);
  return { code, stdout: program.stdout, stderr: program.stderr };
}
