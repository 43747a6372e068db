// Two (or more) kinto.js replicas of one collection, and plain requests beside them.
import "fake-indexeddb/auto";
import { EventEmitter } from "node:events";
import { randomUUID } from "node:crypto";
// The bundle that browsers load: the package's CommonJS files need a newer Node.
import bundle from "kinto/dist/kinto.js";

const Kinto = bundle.default;
export const strategies = Kinto.syncStrategy;

const authorization = (user) => `Basic ${Buffer.from(`${user}:secret`).toString("base64")}`;

/** Everything kinto.js sends goes through here: a scenario may look on, or step in between. */
function watchRequests() {
  const watched = { requests: [], before: async () => {} };
  const send = globalThis.fetch;
  globalThis.fetch = async (url, options = {}) => {
    const request = { url: new URL(url), method: options.method ?? "GET" };
    watched.requests.push(request);
    await watched.before(request);
    return send(url, options);
  };
  return { watched, send };
}

/** A fresh bucket with the collection "notes", owned by alice. */
export async function makeWorld(url) {
  const { watched, send } = watchRequests();
  const bucket = `js-${randomUUID()}`;
  const world = { url, bucket, watched, records: `/buckets/${bucket}/collections/notes/records` };
  world.request = async (method, path, body, user = "alice") => {
    const response = await send(url + path, {
      method,
      headers: { Authorization: authorization(user), "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return { headers: response.headers, json: text ? JSON.parse(text) : null };
  };
  await world.request("PUT", `/buckets/${bucket}`);
  await world.request("PUT", `/buckets/${bucket}/collections/notes`);
  return world;
}

/** An offline store of its own, like another device; `seen` lists the events it emitted. */
export function makeReplica(world, { user = "alice", hooks = {} } = {}) {
  const events = new EventEmitter();
  const seen = [];
  for (const name of ["backoff", "deprecated", "retry-after", "sync:success", "sync:error"]) {
    events.on(name, (value) => seen.push({ name, value }));
  }
  const kinto = new Kinto({
    remote: world.url,
    bucket: world.bucket,
    headers: { Authorization: authorization(user) },
    adapterOptions: { dbName: randomUUID() },
    events,
    retry: 0,
    timeout: 30_000,
  });
  const notes = kinto.collection("notes", { hooks });
  return { kinto, notes, seen, sync: (options = {}) => notes.sync({ retry: 0, ...options }) };
}

export const create = (replica, id, title) =>
  replica.notes.create({ id, title }, { useRecordId: true });

/** Change the title and nothing else, as an app does that edits what it has on screen. */
export async function retitle(replica, id, title) {
  const { data } = await replica.notes.get(id);
  return replica.notes.update({ ...data, title });
}

const titles = (records) =>
  Object.fromEntries(
    records.map((r) => [r.id, r.title ?? null]).sort(([a], [b]) => (a < b ? -1 : 1)),
  );

/** {id: title} of what the replica holds, or null when something in it is not yet synced. */
export async function stateOf(replica) {
  const { data } = await replica.notes.list({}, { includeDeleted: true });
  // kinto.js keeps what was deleted before it was ever published, and as a record the tombstone
  // that won a conflict.
  const held = data.filter((r) => !r.deleted && (r._status !== "deleted" || r.last_modified));
  return held.every((r) => r._status === "synced") ? titles(held) : null;
}

/** {id: title} of what the server holds. */
export async function stateOfServer(world) {
  const { json } = await world.request("GET", `${world.records}?_limit=0`);
  return titles(json.data);
}

export const outcome = (result) => ({
  ok: result.ok,
  errors: result.errors,
  conflicts: result.conflicts,
  created: result.created.length,
  updated: result.updated.length,
  deleted: result.deleted.length,
  published: result.published.length,
  resolved: result.resolved.length,
  skipped: result.skipped.length,
  lastModified: result.lastModified,
});
