// Every public method of kinto.js and of its collections, with transformers, hooks and local fields.
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import bundle from "kinto/dist/kinto.js";
import { publicNames, recorded } from "../recorded.mjs";

const Kinto = bundle.default;
const { CLIENT_WINS, PULL_ONLY, SERVER_WINS } = Kinto.syncStrategy;
const headers = { Authorization: `Basic ${Buffer.from("alice:secret").toString("base64")}` };
const failure = (promise) => promise.then(() => null, (error) => error.message);
const show = ({ data }) => Object.fromEntries(data.map((one) => [one.id, one.title]).sort());
const count = (result) =>
  Object.fromEntries(["created", "updated", "deleted", "published", "conflicts", "resolved", "errors"]
    .map((name) => [name, result[name].length]).filter(([, number]) => number));

// What the server holds is written backwards, as an app would encrypt it.
const turn = (record) =>
  record.title ? { ...record, title: [...record.title].reverse().join("") } : record;
const transformer = { encode: async (record) => turn(record), decode: async (record) => turn(record) };

function makeReplica(world, more = {}) {
  const events = new EventEmitter();
  const kinto = new Kinto({
    remote: world.url, bucket: world.bucket, headers, events, retry: 0, timeout: 30_000,
    adapter: (name, options) => new Kinto.adapters.IDB(name, options),
    adapterOptions: { dbName: randomUUID() },
  });
  return { events, kinto, notes: kinto.collection("notes", more) };
}

async function writeLocally({ kinto, notes, changes }) {
  const names = [notes.name, notes.bucket === kinto.collection("x").bucket, notes.api === kinto.api];
  const { data: made } = await notes.create({ title: "generated" });
  await notes.create({ id: "a", title: "one", draft: "mine" }, { useRecordId: true });
  await notes.create({ id: "b", title: "two" }, { useRecordId: true });
  await notes.create({ id: "g", title: "gone" }, { useRecordId: true });
  const refused = await failure(notes.create({ id: "not an id!" }, { useRecordId: true }));
  await notes.update({ id: "b", rank: 1 }, { patch: true });
  const upserted = await notes.upsert({ id: "c", title: "three" });
  const { data: one } = await notes.get("b");
  const nothing = await notes.getAny("never");
  await notes.deleteAny(made.id);
  await notes.delete("c");
  const executed = await notes.execute((transaction) => {
    transaction.create({ id: "d", title: "four", _status: "created" });
    transaction.update({ id: "a", title: "one again", draft: "mine" });
    transaction.upsert({ id: "e", title: "five" });
    transaction.delete("b");
    transaction.deleteAny("never");
    transaction.deleteAll(["g"]);
    transaction.emitEvents();
    return [transaction.get("a").data.title, transaction.getAny("b").data.title];
  }, { preloadIds: ["a", "b", "d", "e", "g", "never"] });
  return {
    names, refused, upserted: upserted.oldRecord === undefined, one: [one.title, one.rank], executed,
    nothing: nothing.data === undefined, list: show(await notes.list({ order: "title" })), changes: changes.length,
    local: (await notes.gatherLocalChanges()).length, clean: notes.cleanLocalFields({ id: "a", draft: 1, _status: "x" }),
  };
}

async function publish({ world, notes, other }) {
  const first = count(await notes.sync({ headers: { "X-Kind": "test" }, expectedTimestamp: "1" }));
  const { json } = await world.request("GET", `${world.records}?_sort=id`);
  const { ok } = await other.notes.sync();
  return {
    first, ok, server: json.data.map((one) => [one.id, one.title, "draft" in one]),
    other: show(await other.notes.list()),
    stamped: notes.lastModified === (await notes.db.getLastModified()),
    metadata: (await notes.metadata()).id, applied: other.applied.length > 0,
  };
}

async function syncByHand({ notes, kinto, other, world }) {
  await other.notes.update({ id: "a", title: "other" }, { patch: true });
  await other.notes.sync();
  await notes.update({ id: "a", title: "ours" }, { patch: true });
  const client = kinto.api.bucket(world.bucket).collection("notes");
  const result = await notes.sync();
  const [conflict] = result.conflicts;
  await notes.resolve(conflict, { ...conflict.local, title: "both" });
  const pulled = await notes.sync({ strategy: SERVER_WINS });
  await notes.pullMetadata(client, {});
  await notes.update({ id: "a", title: "last" }, { patch: true });
  const fresh = Object.create(Object.getPrototypeOf(result), Object.getOwnPropertyDescriptors(new result.constructor()));
  await notes.pullChanges(client, fresh, { headers });
  await notes.pushChanges(client, await notes.gatherLocalChanges(), fresh, { strategy: CLIENT_WINS });
  await other.notes.sync({ strategy: PULL_ONLY });
  const hooked = await notes.applyHook("incoming-changes", { changes: [] });
  return {
    conflict: [conflict.type, conflict.local.title, conflict.remote.title], pulled: count(pulled),
    fresh: count(fresh), other: show(await other.notes.list()), hooked: hooked.changes,
  };
}

async function startAgain({ world, notes, kinto, other }) {
  const processed = await notes.resetSyncStatus();
  const reset = count(await notes.sync({ strategy: CLIENT_WINS }));
  const before = show(await notes.list());
  const { json } = await world.request("GET", world.records);
  await notes.clear();
  const cleared = (await notes.list()).data.length;
  const loaded = await notes.importBulk(json.data.map(turn));
  await notes.loadDump(json.data.map(turn));
  const result = await notes.importChanges(new (await other.notes.sync()).constructor(), [
    { id: "z", title: "changed", last_modified: json.data[0].last_modified + 1 },
  ]);
  await notes.delete("z", { virtual: false });
  const again = count(await notes.sync());
  const deleted = (await notes.deleteAll()).data.length;
  const last = count(await notes.sync());
  const elsewhere = kinto.collection("elsewhere");
  await elsewhere.create({ title: "away" });
  await elsewhere.sync({ collection: "notes" });
  const { json: left } = await world.request("GET", world.records);
  return {
    processed, reset, before, cleared, loaded: loaded.length, imported: result.created.length, again,
    deleted, last, left: left.data.map((one) => one.title),
  };
}

export default async function (world) {
  const used = { kinto: new Set(), collection: new Set(), transaction: new Set() };
  const changes = [];
  const hook = (payload) => payload;
  const ours = makeReplica(world);
  const options = {
    remoteTransformers: [transformer], localFields: ["draft"],
    hooks: { "incoming-changes": [hook] },
    idSchema: { generate: () => "generated", validate: (id) => /^[a-z]+$/.test(id) },
  };
  const kinto = recorded(ours.kinto, used.kinto, { collection: [used.collection] });
  const notes = kinto.collection("notes", options);
  ours.events.on("change", ({ targets }) => changes.push(targets.map((one) => one.action)));
  const applied = [];
  const watch = (payload) => (applied.push(payload.changes.length), payload);
  const other = makeReplica(world, { ...options, hooks: { "incoming-changes": [watch] } });
  let transaction;
  const execute = notes.execute;
  const at = { world, kinto, changes, other: { ...other, applied } };
  at.notes = new Proxy(notes, {
    get: (target, name) => name !== "execute" ? target[name] : (run, more) => execute((real) => {
      transaction = real;
      return run(recorded(real, used.transaction));
    }, more),
  });
  const seen = {};
  seen.locally = await writeLocally(at);
  seen.published = await publish(at);
  seen.byHand = await syncByHand(at);
  seen.again = await startAgain(at);
  seen.api = kinto.api instanceof ours.kinto.ApiClass && typeof kinto.ApiClass === "function";
  const objects = { kinto: ours.kinto, collection: ours.notes, transaction };
  seen.unused = Object.entries(objects).flatMap(([kind, object]) =>
    publicNames(object).filter((one) => !used[kind].has(one)).map((one) => `${kind}.${one}`));
  seen.statics = Object.keys(Kinto.syncStrategy).sort();
  return seen;
}
