// @ts-check
// One subscription: what it was told, and what has to come next.
import { SECOND, STABLE_AFTER, draw } from "./delays.js";
import { LiveError, errorOf } from "./errors.js";
import { call } from "./handlers.js";

/**
 * A message of the server, as it came. `prev` and `cursor` are texts.
 * @typedef {{type: string, cursor?: string, [member: string]: any}} Message
 */

/**
 * @typedef {object} End Why a subscription is over.
 * @property {number} code as of HTTP: 401, 403, 404, ...
 * @property {boolean} purge whether what was told may not be kept
 * @property {LiveError} error
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {string} [since] a cursor (an ETag is one), or "now"; without: a snapshot first
 * @property {"data"|"ids"|"poke"} [deliver]
 * @property {"latest"|"all"} [history] of what was missed
 * @property {Array<"permissions"|"user_id"|"old">} [include]
 * @property {"close"|"wait"} [onDenied] "wait": begin once it may be read, or is there
 * @property {(message: Message) => void} [onEvent]
 * @property {(message: Message) => void} [onSnapshot] a page: `data`, and whether there are `more`
 * @property {(message: Message) => void} [onReady] what was told equals what GET gives
 * @property {(message: Message) => void} [onReset] drop what was told: a snapshot follows
 * @property {(message: Message) => void} [onPoke]
 * @property {(message: Message) => void} [onProgress]
 * @property {(error: LiveError) => void} [onError] every error, also those it goes on after
 * @property {(end: End) => void} [onEnd] it is over, and not by `close()`
 */

/** What is told of one path. Made by `Connection.subscribe`. */
export class Subscription {
  /** @type {string | null} Of the last consistent message: `since` of a later run. */
  cursor = null;

  #link;
  #options;
  #fromNow = false;
  /** @type {string | null | undefined} What `prev` of the next message has to be. */
  #expected;
  /** @type {string | null} Why a snapshot begins anew. */
  #reset = null;
  #holds = false;
  #attempts = 0;
  #asked = 0;
  #over = false;
  /** @type {LiveError | null} */
  #error = null;
  /** @type {Set<{messages: Message[], wake: () => void}>} */
  #queues = new Set();

  /**
   * @param {Link} link
   * @param {string} path
   * @param {SubscribeOptions} options
   */
  constructor(link, path, options) {
    this.path = path;
    this.#link = link;
    this.#options = options;
    this.#fromNow = options.since === "now";
    if (options.since && !this.#fromNow) this.cursor = spell(options.since);
  }

  /** End it. Nothing is told any more, `onEnd` neither. */
  close() {
    if (this.#over) return;
    this.#link.leave(this);
    this.#finish(null);
  }

  /**
   * All that is told from now on, messages of type `reset`, `snapshot`, `event`, `ready`, `poke`
   * and `progress`. Leaving the loop closes the subscription; its end by an error is thrown.
   *
   * @returns {AsyncGenerator<Message, void, void>}
   */
  [Symbol.asyncIterator]() {
    const queue = { messages: /** @type {Message[]} */ ([]), wake: () => {} };
    this.#queues.add(queue);
    return this.#read(queue);
  }

  /** @param {{messages: Message[], wake: () => void}} queue */
  async *#read(queue) {
    try {
      for (;;) {
        for (let next = queue.messages.shift(); next; next = queue.messages.shift()) yield next;
        if (this.#error) throw this.#error;
        if (this.#over) return;
        await new Promise((resolve) => (queue.wake = () => resolve(undefined)));
      }
    } finally {
      this.#queues.delete(queue);
      this.close();
    }
  }

  /**
   * For the connection: what asks for it, from where it stands.
   * @internal
   * @returns {Record<string, unknown>}
   */
  request() {
    const { deliver, history, include, onDenied } = this.#options;
    const since = this.cursor ?? (this.#fromNow ? "now" : undefined);
    this.#expected = undefined;
    return { path: this.path, since, deliver, history, include, on_denied: onDenied };
  }

  /**
   * For the connection: its cursor means nothing any more.
   * @internal
   * @param {string} reason
   */
  forget(reason) {
    if (this.cursor !== null || this.#holds) this.#reset = reason;
    this.cursor = null;
  }

  /**
   * For the connection: a message about it has come.
   * @internal
   * @param {Message} message
   */
  receive(message) {
    switch (message.type) {
      case "subscribed":
        return this.#begin(message);
      case "reset":
        this.#drop();
        return this.#tell("onReset", message);
      case "snapshot":
        return this.#follow("onSnapshot", message);
      case "event":
        return this.#follow("onEvent", message);
      case "ready":
        return this.#follow("onReady", message);
      case "poke":
        return this.#follow("onPoke", message);
      case "progress":
        return this.#follow("onProgress", message);
      case "error":
        return this.#refused(errorOf(message), false);
      case "unsubscribed": {
        const { code, errno, reason, purge } = message;
        return this.#refused(new LiveError(reason, { code, errno }), Boolean(purge));
      }
    }
  }

  /**
   * For the connection: it ends, for a reason that the server gave.
   * @internal
   * @param {LiveError} error
   * @param {boolean} [purge]
   */
  end(error, purge = false) {
    if (this.#over) return;
    error.final = true;
    this.#finish(error);
    this.#call("onError", error);
    this.#call("onEnd", { code: error.code, purge, error });
  }

  /** @param {Message} message */
  #begin(message) {
    if (message.mode === "waiting") return;
    const reason = this.#reset ?? (this.#holds && this.cursor === null ? "restarted" : null);
    if (reason !== null) {
      this.#drop();
      this.#tell("onReset", { type: "reset", reason, cursor: message.cursor });
    }
    if (message.mode === "live") {
      this.cursor = message.cursor ?? null;
      this.#fromNow = false;
    }
    this.#expected = this.cursor;
  }

  #drop() {
    this.cursor = this.#expected = this.#reset = null;
    this.#holds = this.#fromNow = false;
  }

  /**
   * Take a message that has its place after the one before.
   * @param {"onSnapshot"|"onEvent"|"onReady"|"onPoke"|"onProgress"} handler
   * @param {Message} message
   */
  #follow(handler, message) {
    const { type, prev = null, cursor } = message;
    if (prev !== this.#expected) {
      const words = `${type} at ${cursor} follows ${prev}, not ${this.#expected}`;
      this.#call("onError", new LiveError(`Missed a message: ${words}`));
      this.#link.leave(this);
      return this.#again();
    }
    // Without one: a page of a snapshot that goes on, after which nothing can be resumed.
    if (cursor !== undefined) this.cursor = this.#expected = cursor;
    this.#holds ||= type === "snapshot" || type === "event";
    this.#tell(handler, message);
  }

  /**
   * @param {LiveError} error
   * @param {boolean} purge
   */
  #refused(error, purge) {
    if (error.code === 410) {
      this.forget(error.details?.reason ?? "expired");
      this.#call("onError", error);
      return this.#again();
    }
    if (error.code === 429 || error.code >= 500) {
      this.#call("onError", error);
      return this.#again(Math.max(1, error.retryAfter ?? 0) * SECOND);
    }
    this.#link.leave(this);
    this.end(error, purge);
  }

  /** Subscribe again from where it stands: at once the first time, then later and later. */
  #again(least = 0) {
    const now = performance.now();
    if (now - this.#asked > STABLE_AFTER) this.#attempts = 0;
    const delay = this.#attempts === 0 ? least : Math.max(least, draw(this.#attempts));
    this.#attempts += 1;
    this.#asked = now + delay;
    // It may have been closed by a handler that was just called.
    if (!this.#over) this.#link.again(this, delay);
  }

  /** @param {LiveError | null} error */
  #finish(error) {
    this.#over = true;
    this.#error = error;
    for (const queue of this.#queues) queue.wake();
  }

  /**
   * @param {keyof SubscribeOptions} handler
   * @param {Message} message
   */
  #tell(handler, message) {
    for (const queue of this.#queues) {
      queue.messages.push(message);
      queue.wake();
    }
    this.#call(handler, message);
  }

  /**
   * @param {keyof SubscribeOptions} handler
   * @param {any} value
   */
  #call(handler, value) {
    call(/** @type {any} */ (this.#options)[handler], value);
  }
}

/**
 * What a subscription may ask of its connection.
 * @typedef {object} Link
 * @property {(subscription: Subscription) => void} leave
 * @property {(subscription: Subscription, delay: number) => void} again
 */

/**
 * A cursor as the server spells it: an ETag has quotes, and may end in -0.
 * @param {string} cursor
 */
function spell(cursor) {
  return cursor.replaceAll('"', "").replace(/-0$/, "");
}
