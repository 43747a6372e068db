// node follower.mjs
//
// Does with live.js what each line of stdin says, and prints each thing that live.js tells, one
// line of JSON each. What it means is judged by tests/static.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { LiveError, connect } from "../../../static/live.js";

const HANDLERS = ["Event", "Snapshot", "Ready", "Reset", "Poke", "Progress", "Error", "End"];

const connections = {};
const subscriptions = {};
let credentials = [];

function plain(value) {
  if (!(value instanceof LiveError)) return value;
  return { ...value, message: value.message };
}

const print = (what, of, value = {}) => {
  const cursor = subscriptions[of]?.cursor;
  process.stdout.write(
    JSON.stringify({ what, of, value, cursor }, (key, one) => plain(one)) + "\n",
  );
};

const acts = {
  /**
   * With `credentials`, a list, each is used once, and the last for ever. With `drawn`, that is
   * what chance gives from now on.
   */
  connect({ of, url, options }) {
    if (options.drawn !== undefined) Math.random = () => options.drawn;
    credentials = options.credentials ?? [];
    connections[of] = connect(url, {
      WebSocket,
      ...options,
      ...(options.credentials && {
        authorization: async () => (credentials.length > 1 ? credentials.shift() : credentials[0]),
      }),
      onState: (state, details) =>
        print("state", of, { state, ...details, epoch: connections[of].epoch }),
    });
  },
  subscribe({ of, on, path, options }) {
    const tell = (what) => [`on${what}`, (value) => print(what.toLowerCase(), of, value)];
    const handlers = Object.fromEntries(HANDLERS.map(tell));
    try {
      subscriptions[of] = connections[on].subscribe(path, { ...options, ...handlers });
    } catch (error) {
      print("thrown", of, error);
    }
  },
  async iterate({ of, on, path, options, leaveAfter }) {
    subscriptions[of] = connections[on].subscribe(path, options);
    try {
      for await (const message of subscriptions[of]) {
        print(message.type, of, message);
        if (message.type === leaveAfter) break;
      }
      print("left", of);
    } catch (error) {
      print("thrown", of, error);
    }
  },
  close({ of }) {
    (subscriptions[of] ?? connections[of]).close();
    print("closed", of);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  acts[message.act](message);
}
process.exit(0);
