// The MCP Inspector's command line, one process a call.
import { fileURLToPath } from 'node:url';
import { run } from './process.js';

const program = fileURLToPath(new URL('../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js', import.meta.url));

/** The exit codes that the Inspector documents. */
export const codes = { ok: 0, toolError: 5, notPortable: 6 };

const target = house =>
  house.url
    ? [house.url, '--transport', 'http']
    : [house.program, ...house.args, ...Object.entries(house.env).flatMap(([name, value]) => ['-e', `${name}=${value}`])];

/** Runs the Inspector against a house. */
export async function inspect(house, ...args) {
  const { code, stdout, stderr } = await run(process.execPath, [program, '--cli', '-q', '--format', 'json', ...target(house), ...args], house.env);
  let result;
  try {
    ({ result } = JSON.parse(stdout));
  } catch {
    // it printed no result: the exit code and standard error say why
  }
  return { code, stderr, result, data: result?.structuredContent, text: result?.content?.[0]?.text ?? '' };
}

/** Lists the tools; "portable" wants schemas that every client can take. */
export const listTools = house => inspect(house, '--method', 'tools/list', '--strict');

/** Calls a tool. */
export const callTool = (house, name, args = {}, era = 'legacy') =>
  inspect(house, '--protocol-era', era, '--method', 'tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args));
