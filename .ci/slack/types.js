// Checks the golden messages and views against Slack's own types: node types.js FOLDER
// Prints one line for each file that does not fit, and how many there were.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

const folder = path.resolve(process.argv[2]);
const files = readdirSync(folder, { recursive: true }).filter((f) => f.endsWith('.json')).sort();

// Each file becomes one statement, so that what is written keeps its literal types.
const source = ["import type { KnownBlock, View } from '@slack/types';"];
for (const file of files) {
  const golden = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
  const text = JSON.stringify(golden.blocks && !golden.type ? golden.blocks : golden);
  source.push(`export const ${file.replace(/\W/g, '_')} = ${text} satisfies ${golden.type ? 'View' : 'KnownBlock[]'};`);
}

const name = path.resolve('goldens.ts'); // beside node_modules, in memory only
const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists, readFile } = host;
host.getSourceFile = (f, ...rest) => (f === name ? ts.createSourceFile(f, source.join('\n'), options.target) : getSourceFile.call(host, f, ...rest));
host.fileExists = (f) => f === name || fileExists.call(host, f);
host.readFile = (f) => (f === name ? source.join('\n') : readFile.call(host, f));

const wrong = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
for (const d of wrong) {
  const line = d.file === undefined ? 0 : d.file.getLineAndCharacterOfPosition(d.start).line;
  console.log(`${files[line - 1] ?? name}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}`);
}
console.log(`${files.length} files, ${wrong.length} wrong`);
process.exitCode = wrong.length > 0 || files.length === 0 ? 1 : 0;
