// Devices: replicas that live.js syncs whenever the server says that something has changed.
import { once, EventEmitter } from "node:events";
import WebSocket from "ws";
import { attach } from "../../../static/live.js";
import { makeReplica, stateOf, strategies } from "./replicas.mjs";

const DEADLINE_MS = 60_000;

/**
 * A replica that is attached; `cut()` drops its connection. `errors` and `most`, the number of
 * syncs at a time, tell how it went.
 */
export function makeDevice(world, user = "alice", more = {}) {
  const replica = makeReplica(world, { user });
  const device = { replica, errors: [], syncs: 0, most: 0, changed: new EventEmitter() };
  const sockets = [];
  class Socket extends WebSocket {
    constructor(...given) {
      super(...given);
      sockets.push(this);
    }
  }
  watchSyncs(replica.notes, device);
  const handle = attach(replica.notes, {
    WebSocket: Socket,
    authorization: `Basic ${Buffer.from(`${user}:secret`).toString("base64")}`,
    sync: { retry: 0, strategy: strategies.CLIENT_WINS },
    onSync: (result) => {
      if (!result.ok) device.errors.push(JSON.stringify(result.errors));
      device.changed.emit("change");
    },
    onError: (error) => {
      device.errors.push(error.message);
      device.changed.emit("change");
    },
    ...more,
  });
  const cut = () => sockets.splice(0).forEach((socket) => socket.terminate());
  return Object.assign(device, { cut, sync: handle.sync, close: handle.close });
}

function watchSyncs(notes, device) {
  const sync = notes.sync.bind(notes);
  let running = 0;
  notes.sync = async (options) => {
    device.syncs += 1;
    device.most = Math.max(device.most, (running += 1));
    try {
      return await sync(options);
    } finally {
      running -= 1;
    }
  };
}

/** Wait until the device holds what is wanted; what it holds at last. */
export async function until(device, wanted) {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  for (;;) {
    // Listened to before it is looked at, so that nothing is missed.
    const change = once(device.changed, "change", { signal });
    change.catch(() => {});
    const state = await stateOf(device.replica);
    if (signal.aborted || same(state, await wanted())) return state;
    await change.catch(() => {});
  }
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
