// A person at a terminal of the host: a program on a pseudo-terminal, read and typed into.
import { patience, start } from './process.js';

/** Somebody who has started a program at a terminal. */
export class Person {
  constructor(t, command, args, env) {
    // script(1), part of every Debian, opens the pseudo-terminal and runs a shell command on it.
    const quoted = [command, ...args].map(word => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
    this.program = start(t, 'script', ['--quiet', '--flush', '--return', '--command', `exec ${quoted}`, '/dev/null'], {
      ...env,
      SHELL: '/bin/sh',
    });
    this.seen = 0;
  }

  /** What has stood on the screen. */
  get screen() {
    return this.program.stdout.replaceAll('\r', '');
  }

  /** Waits until a text stands on the screen, after what was read before. */
  async reads(text, within = patience) {
    const match = await this.program.prints(new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')), { from: this.seen, within });
    this.seen += match.index + match[0].length;
  }

  /** Types a line. */
  types(line) {
    this.program.child.stdin.write(`${line}\n`);
  }

  /** Waits for the program's end; gives its exit code and the screen. */
  async leaves(within = 60_000) {
    const late = setTimeout(() => this.program.child.kill('SIGTERM'), within);
    const code = await this.program.ended;
    clearTimeout(late);
    return { code, screen: this.screen };
  }
}

/** Confirms a request: reads the card, types the server's name and the passphrase. */
export async function approve(t, house, id, { type = 'web-server-01', passphrase = house.passphrase } = {}) {
  const person = new Person(t, house.vpsguard, house.desk('requests', 'approve', id), house.env);
  await person.reads(`Request ${id}, held`);
  await person.reads('To confirm exactly this, type');
  person.types(type);
  if (type === 'web-server-01') {
    await person.reads('Passphrase:');
    person.types(passphrase);
  }
  return person;
}

/** Sets a ledger's passphrase. */
export async function setPassphrase(t, house) {
  const person = new Person(t, house.vpsguard, ['passphrase', 'set'], house.env);
  for (const question of ['New passphrase:', 'Once more:']) {
    await person.reads(question);
    person.types(house.passphrase);
  }
  return person.leaves();
}
