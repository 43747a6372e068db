// @ts-check
// The connection: it comes back whenever it is lost, and asks for everything again.
import { SECOND, STABLE_AFTER, draw } from "./delays.js";
import { LiveError, errorOf } from "./errors.js";
import { call } from "./handlers.js";
import { Subscription } from "./subscription.js";

/** @typedef {import("./subscription.js").Message} Message */
/** @typedef {import("./subscription.js").SubscribeOptions} SubscribeOptions */

const SUBPROTOCOL = "kinto.live.v1";

const LATER_DELAY = 30 * SECOND;
const HELLO_DEADLINE = 15 * SECOND;
const PROBE_DEADLINE = 5 * SECOND;
const MESSAGE_BYTES = 65536;

/** Close codes: of a connection that was cut, and those of the server that matter. */
const ABNORMAL = 1006;
const UNAUTHORIZED = 4401;
const TOO_MANY = 4429;
const FINAL = new Set([UNAUTHORIZED, 4403, 4410, 4413]);

/**
 * @typedef {object} ConnectOptions
 * @property {string | (() => string | Promise<string>)} [authorization] value of the header; a
 *     function is asked before each connection
 * @property {any} [WebSocket] a class to be used instead of the global one
 * @property {string} [client] name of the app; a server may write it into its log
 * @property {string} [epoch] `connection.epoch` that stored cursors belong to
 * @property {(state: State, details: StateDetails) => void} [onState]
 */

/**
 * "waiting" is between two attempts; "closed" is for good.
 * @typedef {"connecting"|"open"|"waiting"|"closed"} State
 */

/**
 * @typedef {object} StateDetails
 * @property {Message} [welcome] of "open"
 * @property {number} [code] of "waiting" and "closed": why the connection ended
 * @property {string} [reason]
 * @property {number} [delay] of "waiting": until the next attempt, in ms
 * @property {LiveError} [error] what the server said before it closed
 */

/**
 * Connect to a server, and come back to it whenever the connection is lost.
 *
 * @param {string} url root of the API, such as `https://host/v1`
 * @param {ConnectOptions} [options]
 * @returns {Connection}
 */
export function connect(url, options = {}) {
  return new Connection(url, options);
}

/** A connection to a server, kept up until it is closed. Made by `connect`. */
export class Connection {
  /** @type {State} */
  state = "connecting";
  /** @type {string | null} Of the database; where it changes, no cursor means anything. */
  epoch = null;

  #address;
  #options;
  #WebSocket;
  /** @type {any} */
  #socket = null;
  /** Whether `hello` was sent over this socket. */
  #greeted = false;
  /** @type {Map<Subscription, string>} The names they have over this socket; "" for none. */
  #names = new Map();
  /** @type {Map<string, Subscription>} */
  #named = new Map();
  /** @type {Map<Subscription, any>} Timers of those that wait to ask again. */
  #resting = new Map();
  #serial = 0;
  #attempts = 0;
  #opened = 0;
  #heard = 0;
  /** Without a message, after which the connection is given up. */
  #patience = HELLO_DEADLINE;
  #heartbeat = HELLO_DEADLINE;
  #messageBytes = MESSAGE_BYTES;
  #notBefore = 0;
  /** @type {number | null} In seconds; as the server asked. */
  #retryAfter = null;
  #goodbye = false;
  /** @type {LiveError | undefined} */
  #said;
  /** @type {string | undefined} */
  #credentials;
  /** @type {string | undefined} Credentials that were refused. */
  #refused;
  /** @type {any} */
  #retryTimer;
  /** @type {any} */
  #watchTimer;
  #link = {
    leave: (/** @type {Subscription} */ one) => this.#leave(one),
    again: (/** @type {Subscription} */ one, /** @type {number} */ delay) => this.#again(one, delay),
  };

  /**
   * @param {string} url
   * @param {ConnectOptions} options
   */
  constructor(url, options) {
    const address = new URL(`${url.replace(/\/+$/, "")}/live`, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.#address = address.href;
    this.#options = options;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError("There is no WebSocket here: pass one");
    this.epoch = options.epoch ?? null;
    globalThis.addEventListener?.("online", this.#awake);
    globalThis.document?.addEventListener("visibilitychange", this.#awake);
    this.#open();
  }

  /**
   * Be told of a list, an object, or everything in a bucket.
   *
   * @param {string} path such as `/buckets/b/collections/c/records?status=open`
   * @param {SubscribeOptions} [options]
   * @returns {Subscription}
   */
  subscribe(path, options = {}) {
    if (this.state === "closed") throw new LiveError("The connection is closed", { final: true });
    const subscription = new Subscription(this.#link, path, options);
    this.#names.set(subscription, "");
    this.#ask(subscription);
    return subscription;
  }

  /** End it and all its subscriptions, for good. */
  close() {
    if (this.state === "closed") return;
    const subscriptions = [...this.#names.keys()];
    this.#stop();
    for (const one of subscriptions) one.close();
    this.#change("closed", { code: 1000 });
  }

  // The socket.

  #open() {
    clearTimeout(this.#retryTimer);
    this.#abandon();
    // Not told of the first time: who made this connection does not have it yet.
    if (this.state !== "connecting") this.#change("connecting", {});
    if (this.state !== "connecting") return;
    const socket = new this.#WebSocket(this.#address, SUBPROTOCOL);
    const mine = (/** @type {(value: any) => void} */ act) => (/** @type {any} */ value) =>
      socket === this.#socket && act(value);
    this.#socket = socket;
    this.#opened = 0;
    this.#retryAfter = null;
    this.#goodbye = false;
    this.#said = undefined;
    this.#patience = HELLO_DEADLINE;
    socket.onopen = mine(() => this.#hello(socket));
    socket.onmessage = mine(({ data }) => this.#receive(data));
    socket.onclose = mine(({ code, reason }) => this.#lost(code, reason));
    // What went wrong is not told to pages; the close that follows is all there is.
    socket.onerror = () => {};
    this.#watch();
  }

  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    this.#greeted = false;
    this.#named.clear();
    for (const one of this.#names.keys()) this.#names.set(one, "");
    for (const timer of this.#resting.values()) clearTimeout(timer);
    this.#resting.clear();
    clearTimeout(this.#watchTimer);
    if (socket) socket.close(1000);
  }

  #stop() {
    this.#abandon();
    this.#names.clear();
    clearTimeout(this.#retryTimer);
    globalThis.removeEventListener?.("online", this.#awake);
    globalThis.document?.removeEventListener("visibilitychange", this.#awake);
  }

  /**
   * @param {State} state
   * @param {StateDetails} details
   */
  #change(state, details) {
    this.state = state;
    call(this.#options.onState, state, details);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const stable = this.#opened > 0 && performance.now() - this.#opened > STABLE_AFTER;
    if (stable || this.#goodbye) this.#attempts = 0;
    this.#abandon();
    if (code === UNAUTHORIZED && typeof this.#options.authorization === "function") {
      // It may have better ones by now.
      this.#refused = this.#credentials;
    } else if (FINAL.has(code)) {
      return this.#end(code, reason);
    }
    const asked = (this.#retryAfter ?? 0) * SECOND;
    let delay = this.#goodbye ? asked : Math.max(asked, draw(this.#attempts++));
    if (code === TOO_MANY) delay += LATER_DELAY;
    this.#notBefore = code === TOO_MANY || asked ? performance.now() + delay : 0;
    this.#retryTimer = setTimeout(() => this.#open(), delay);
    this.#change("waiting", { code, reason, delay, error: this.#said });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    const subscriptions = [...this.#names.keys()];
    this.#stop();
    const words = reason || `The server closed the connection with ${code}`;
    const error = this.#said ?? new LiveError(words, { code: code - 4000 });
    error.final = true;
    this.#change("closed", { code, reason, error });
    for (const one of subscriptions) one.end(error);
  }

  /** Be sure to hear something in time, or come back. */
  #watch() {
    clearTimeout(this.#watchTimer);
    const socket = this.#socket;
    this.#heard = performance.now();
    const look = () => {
      if (socket !== this.#socket) return;
      const left = this.#patience - (performance.now() - this.#heard);
      if (left <= 0) this.#lost(ABNORMAL, "nothing was heard");
      else this.#watchTimer = setTimeout(look, left);
    };
    this.#watchTimer = setTimeout(look, this.#patience);
  }

  /** The page is online or in sight again: come back at once, or see whether one is there. */
  #awake = (/** @type {{type: string}} */ { type }) => {
    const online = type === "online";
    if (!online && globalThis.document.visibilityState === "hidden") return;
    if (this.state === "open") {
      this.#patience = Math.min(this.#patience, PROBE_DEADLINE);
      this.#watch();
      this.#send({ type: "ping" });
    } else if ((online || this.state === "waiting") && performance.now() >= this.#notBefore) {
      this.#attempts = 0;
      this.#open();
    }
  };

  // Messages.

  /** @param {Record<string, unknown>} message */
  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  /** @param {any} socket */
  async #hello(socket) {
    const { authorization, client } = this.#options;
    let credentials;
    try {
      credentials = typeof authorization === "function" ? await authorization() : authorization;
    } catch (error) {
      if (socket !== this.#socket) return;
      this.#said = new LiveError(`There are no credentials: ${error}`);
      return this.#lost(ABNORMAL, "no credentials");
    }
    if (socket !== this.#socket) return;
    if (this.#refused !== undefined && credentials === this.#refused) {
      return this.#end(UNAUTHORIZED, "the credentials are refused");
    }
    this.#credentials = credentials;
    this.#greeted = true;
    // All in one message, if it has room for them: nobody waits for the welcome.
    /** @type {Array<Record<string, unknown>>} */
    const subscribe = [];
    const hello = { type: "hello", authorization: credentials, client, subscribe };
    let size = bytesOf(hello);
    /** @type {typeof subscribe} */
    const others = [];
    for (const one of this.#names.keys()) {
      const body = this.#name(one);
      size += bytesOf(body) + 1;
      (size > this.#messageBytes ? others : subscribe).push(body);
    }
    this.#send(hello);
    for (const body of others) this.#send({ type: "subscribe", ...body });
  }

  /** @param {Subscription} subscription */
  #name(subscription) {
    // A new one each time: what is still on its way to the last is not meant for this.
    const name = `s${(this.#serial += 1)}`;
    this.#names.set(subscription, name);
    this.#named.set(name, subscription);
    return { sub: name, ...subscription.request() };
  }

  /** @param {Subscription} subscription */
  #ask(subscription) {
    this.#resting.delete(subscription);
    if (this.#greeted) this.#send({ type: "subscribe", ...this.#name(subscription) });
  }

  /** @param {Subscription} subscription */
  #leave(subscription) {
    const name = this.#names.get(subscription);
    if (name && this.#named.delete(name)) this.#send({ type: "unsubscribe", sub: name });
    clearTimeout(this.#resting.get(subscription));
    this.#resting.delete(subscription);
    this.#names.delete(subscription);
  }

  /**
   * @param {Subscription} subscription
   * @param {number} delay
   */
  #again(subscription, delay) {
    this.#named.delete(this.#names.get(subscription) ?? "");
    this.#names.set(subscription, "");
    if (delay === 0) return this.#ask(subscription);
    // Without a socket to ask over, the next hello does.
    if (!this.#socket) return;
    this.#resting.set(subscription, setTimeout(() => this.#ask(subscription), delay));
  }

  /** @param {unknown} text */
  #receive(text) {
    this.#heard = performance.now();
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(String(text));
    } catch {
      return this.#lost(ABNORMAL, "what came is no message");
    }
    if (message.sub !== undefined) {
      const subscription = this.#named.get(message.sub);
      if (message.type === "error" || message.type === "unsubscribed") {
        // The server knows the name no more.
        this.#named.delete(message.sub);
      }
      return subscription?.receive(message);
    }
    if (message.type === "welcome") this.#welcome(message);
    else if (message.type === "pong") this.#patience = this.#heartbeat;
    else if (message.type === "goodbye") {
      this.#goodbye = true;
      this.#retryAfter = message.retry_after ?? 0;
    } else if (message.type === "error") this.#scolded(errorOf(message));
  }

  /** @param {Message} message */
  #welcome(message) {
    this.#opened = performance.now();
    this.#refused = undefined;
    this.#messageBytes = message.limits?.message_bytes ?? MESSAGE_BYTES;
    this.#patience = this.#heartbeat = 2 * (message.heartbeat ?? 25) * SECOND;
    this.#watch();
    const known = this.epoch;
    this.epoch = message.epoch ?? known;
    if (known !== null && known !== this.epoch) {
      // What was asked for in `hello` was asked of another database.
      for (const one of this.#names.keys()) one.forget("epoch");
      return this.#lost(ABNORMAL, "it is another database");
    }
    this.#change("open", { welcome: message });
  }

  /** @param {LiveError} error about no subscription in particular */
  #scolded(error) {
    this.#said = error;
    this.#retryAfter = error.retryAfter ?? null;
    // Something was not heard, and nobody knows what: say it all again.
    if (error.code === 429) this.#lost(ABNORMAL, error.message);
  }
}

/** @param {unknown} value */
function bytesOf(value) {
  return new TextEncoder().encode(JSON.stringify(value)).length;
}
