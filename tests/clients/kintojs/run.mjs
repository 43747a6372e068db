// node run.mjs URL SCENARIO [ARGUMENT...]
//
// Runs one scenario against the server at URL (with its /v1) and prints what was seen as one
// line of JSON. What it means is judged by tests/clients/test_kinto_js.py.
import { makeWorld } from "./replicas.mjs";

const [url, name, ...options] = process.argv.slice(2);
const { default: scenario } = await import(`./scenarios/${name}.mjs`);
// kinto.js reports some of what it meets on the console; stdout is for the answer.
console.log = console.info = console.error;
const seen = await scenario(await makeWorld(url), ...options);
process.stdout.write(JSON.stringify(seen) + "\n");
