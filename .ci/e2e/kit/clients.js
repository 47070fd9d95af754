// The official TypeScript clients, one for each way to speak either era of the protocol.
import assert from 'node:assert/strict';
import { Client as Client2, StreamableHTTPClientTransport as HTTP2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as Stdio2 } from '@modelcontextprotocol/client/stdio';
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as Stdio1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as HTTP1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { atEnd } from './process.js';

const info = { name: 'e2e', version: '1.0.0' };

const transport = (house, HTTP, Stdio) =>
  house.url
    ? new HTTP(new URL(house.url), {
        ...(house.fetch && { fetch: house.fetch }),
        ...(house.token && { requestInit: { headers: { Authorization: `Bearer ${house.token}` } } }),
      })
    : new Stdio({ command: house.program, args: house.args, env: house.env, stderr: 'ignore' });

/** A connected client that checks each structured result against the tool's output schema, beside the library's own check. */
class Connected {
  constructor(client, version, ask) {
    this.client = client;
    this.version = version;
    this.ask = ask;
    this.schemas = new Map();
  }

  async listTools() {
    const { tools } = await this.client.listTools();
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    for (const tool of tools) this.schemas.set(tool.name, ajv.compile(tool.outputSchema));
    return tools;
  }

  async call(name, args = {}, more = {}, options = {}) {
    const result = await this.ask({ name, arguments: args, ...more }, options);
    const fits = this.schemas.get(name);
    assert.ok(fits?.(result.structuredContent), `${name}: ${JSON.stringify(fits?.errors)}`);
    return { ...result, data: result.structuredContent, text: result.content[0].text };
  }
}

async function first(t, house, elicit) {
  const client = new Client1(info, { capabilities: elicit ? { elicitation: { form: {}, url: {} } } : {} });
  if (elicit) client.setRequestHandler(ElicitRequestSchema, elicit);
  const way = transport(house, HTTP1, Stdio1);
  let version;
  const told = way.setProtocolVersion?.bind(way);
  way.setProtocolVersion = v => {
    version = v;
    told?.(v);
  };
  await client.connect(way);
  atEnd(t, () => client.close());
  return new Connected(client, version, (params, options) => client.callTool(params, undefined, options));
}

const second = mode => async (t, house, elicit) => {
  const client = new Client2(info, { capabilities: elicit ? { elicitation: { form: {}, url: {} } } : {}, versionNegotiation: { mode } });
  if (elicit) client.setRequestHandler('elicitation/create', elicit);
  await client.connect(transport(house, HTTP2, Stdio2));
  atEnd(t, () => client.close());
  return new Connected(client, client.getNegotiatedProtocolVersion(), (params, options) => client.callTool(params, options));
};

/** Each client: its name, how it connects, and the revision that it has to end up with. */
export const clients = [
  { name: 'sdk 1.32.2', connect: first, version: '2025-11-25' },
  { name: 'client 2.4.0, older era', connect: second('legacy'), version: '2025-11-25' },
  { name: 'client 2.4.0, automatic', connect: second('auto'), version: '2026-07-28' },
  { name: 'client 2.4.0, 2026-07-28 only', connect: second({ pin: '2026-07-28' }), version: '2026-07-28' },
];
