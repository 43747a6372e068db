// @ts-check
// kinto.js, told by the server when there is something to sync.
import { connect } from "./connection.js";
import { SECOND, draw } from "./delays.js";
import { call } from "./handlers.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./connection.js").ConnectOptions} ConnectOptions */
/** @typedef {import("./subscription.js").Subscription} Subscription */

/**
 * @typedef {object} AttachOptions
 * @property {Connection} [live] to be used; without, one is made of the following three
 * @property {string} [url] root of the API; without, the one that the collection syncs with
 * @property {ConnectOptions["authorization"]} [authorization]
 * @property {any} [WebSocket]
 * @property {Record<string, unknown>} [sync] options of the collection's `sync`
 * @property {(result: any) => void} [onSync] after each sync, with what it returned
 * @property {(error: Error) => void} [onError] of a sync, or of the connection
 */

/**
 * Sync a collection of kinto.js whenever something has changed on the server.
 *
 * @param {any} collection of kinto.js, as it is
 * @param {AttachOptions} [options]
 * @returns {{sync: () => void, close: () => void}} `sync` asks for one more, as soon as may be
 */
export function attach(collection, options = {}) {
  const { url = collection.api.remote, authorization, WebSocket, onSync, onError } = options;
  const live = options.live ?? connect(url, { authorization, WebSocket });
  const path = `/buckets/${collection.bucket}/collections/${collection.name}/records`;
  let [wanted, busy, closed, attempts] = [false, false, false, 0];
  /** @type {any} */
  let timer = null;
  /** @type {Subscription} */
  let subscription;

  async function run() {
    if (busy) return;
    busy = true;
    // One at a time: two would publish the same changes twice.
    while (wanted && !closed && timer === null) {
      wanted = false;
      const pause = options.sync?.ignoreBackoff ? 0 : (collection.api.backoff ?? 0);
      if (pause > 0) rest(pause);
      else await once();
    }
    busy = false;
  }

  async function once() {
    try {
      const result = await collection.sync({ ...options.sync });
      attempts = 0;
      if (!closed) call(onSync, result);
    } catch (/** @type {any} */ error) {
      if (closed) return;
      call(onError, error);
      // Refused: until something is changed about that, and told.
      if ([401, 403, 404].includes(error?.response?.status)) return;
      const asked = Number(error?.response?.headers?.get?.("Retry-After")) || 0;
      rest(Math.max(draw(attempts++), asked * SECOND));
    }
  }

  /** @param {number} delay */
  function rest(delay) {
    timer = setTimeout(sync, delay);
  }

  function sync() {
    clearTimeout(timer);
    timer = null;
    poked();
  }

  function poked() {
    wanted = true;
    run();
  }

  function follow() {
    if (closed || live.state === "closed") return;
    subscription = live.subscribe(path, {
      deliver: "poke",
      onDenied: "wait",
      onReady: sync,
      onPoke: poked,
      onEnd({ purge, error }) {
        // What was shared is not any more: a last sync shows that, then we wait to be let in.
        if (!purge) return call(onError, error);
        poked();
        follow();
      },
    });
  }

  follow();
  return {
    sync,
    close() {
      closed = true;
      clearTimeout(timer);
      if (options.live) subscription.close();
      else live.close();
    },
  };
}
