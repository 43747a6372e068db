// Every public method of an HTTP client for JavaScript: "kinto" for the one that kinto.js carries,
// "kinto-http" for the package of that name.
import { randomUUID } from "node:crypto";
import { EventEmitter } from "node:events";
import { publicNames, recorded } from "../recorded.mjs";
import { makeReplica } from "../replicas.mjs";

// With Node's own fetch the package can send no files: its forms are those of node-fetch.
const classes = {
  kinto: async (world) => [makeReplica(world).kinto.ApiClass, {}],
  "kinto-http": async () => [
    (await import("kinto-http")).default.default, { fetchFunc: (await import("node-fetch")).default },
  ],
};

const ids = ({ data }) => data.map((one) => one.id);
const status = (promise) =>
  promise.then(() => null, (error) => error.response?.status ?? error.message);
const basic = (user) => `Basic ${Buffer.from(`${user}:secret`).toString("base64")}`;

async function askServer({ client, url, anonymous }) {
  const { project_name: project } = await client.fetchServerInfo();
  client.remote = url;
  client.setHeaders({ "X-Requested-With": "tests" });
  const user = `u${randomUUID()}`;
  await anonymous.createAccount(user, "secret");
  const hello = await anonymous.execute({ path: "/", headers: { Authorization: basic(user) } });
  return {
    project, remote: client.remote === url, version: client.version, backoff: client.backoff,
    settings: await client.fetchServerSettings(), user: (await client.fetchUser()).id,
    capabilities: Object.keys(await client.fetchServerCapabilities()),
    api: await client.fetchHTTPApiVersion(), account: hello.user.id === `account:${user}`,
  };
}

async function useBuckets({ client, headers, id, bucket }) {
  const made = await client.createBucket(id, { data: { title: "first" }, permissions: { read: ["x"] } });
  const taken = await status(client.createBucket(id, { safe: true }));
  const generated = await client.createBucket(null, { data: { title: "generated" } });
  const { title } = await bucket.getData({ fields: ["title"] });
  const stale = await status(bucket.setData({ title: "late" }, { safe: true, last_modified: 1 }));
  const patched = await bucket.setData({ size: 3 }, { patch: true });
  await bucket.addPermissions({ read: ["y"] });
  const added = (await bucket.getPermissions()).read;
  await bucket.removePermissions({ read: ["x"] });
  const removed = (await bucket.getPermissions()).read;
  const set = await bucket.setPermissions({ read: ["z"] });
  const listed = ids(await client.listBuckets({ sort: "last_modified", filters: { min_size: 0 } }));
  const all = ids(await client.paginatedList("/buckets", { limit: 1, pages: Infinity }, { headers }));
  const one = await client.paginatedOperation("/buckets", { limit: 1 }, { headers });
  const { data: gone } = await client.deleteBucket(generated.data.id);
  return {
    made: [made.data.title, made.permissions.read], taken, title, stale, added, removed,
    patched: [patched.data.title, patched.data.size], set: set.permissions.read, listed: listed.length,
    all: all.length, more: one.hasNextPage, gone: gone.deleted, headers: typeof bucket.headers,
    execute: (await bucket.execute({ path: `/buckets/${id}`, headers })).data.id === id,
  };
}

async function useGroups({ bucket }) {
  const made = await bucket.createGroup("g", ["a"], { data: { title: "group" } });
  const taken = await status(bucket.createGroup("g", [], { safe: true }));
  await bucket.createGroup("h");
  const updated = await bucket.updateGroup({ id: "g", members: ["b"] }, { patch: true });
  const stale = await status(bucket.updateGroup({ ...made.data, members: [] }, { safe: true }));
  const { data: read } = await bucket.getGroup("g", { fields: ["members"] });
  const listed = ids(await bucket.listGroups({ sort: "id" }));
  const stamp = await bucket.getGroupsTimestamp();
  const refused = await status(bucket.deleteGroup(made.data, { safe: true }));
  await bucket.deleteGroup("g");
  const left = ids(await bucket.deleteGroups());
  return {
    made: [made.data.members, made.data.title], taken, stale, updated: updated.data.members,
    read: read.members, listed, stamp, refused, left, missing: await status(bucket.getGroup("g")),
  };
}

async function useCollections({ bucket, notes }) {
  const made = await bucket.createCollection("notes", { data: { sort: "n" } });
  const { data: c1 } = await bucket.createCollection("c1");
  for (const id of ["c2", "c3"]) await bucket.createCollection(id);
  const listed = ids(await bucket.listCollections({ sort: "id", limit: 2, pages: Infinity }));
  const stamp = await bucket.getCollectionsTimestamp();
  const { data: gone } = await bucket.deleteCollection(c1, { safe: true });
  const left = ids(await bucket.deleteCollections({ filters: { in_id: "c2,c3" } })).sort();
  const patched = await notes.setData({ cache: 1 }, { patch: true });
  const stale = await status(notes.setData(made.data, { safe: true }));
  await notes.setPermissions({ read: ["x"] });
  await notes.addPermissions({ read: ["y"] });
  await notes.removePermissions({ read: ["x"] });
  const data = await notes.getData();
  return {
    listed, stamp, gone: gone.deleted, left, stale, patched: [patched.data.sort, patched.data.cache],
    id: data.id, sort: data.sort ?? null, read: (await notes.getPermissions()).read,
  };
}

async function useRecords({ client, headers, notes }) {
  const generated = await notes.createRecord({ n: -1 });
  for (let n = 0; n < 8; n++) await notes.createRecord({ id: `r${n}`, n }, { permissions: { read: ["x"] } });
  const taken = await status(notes.createRecord({ id: "r0" }, { safe: true }));
  const { data: first } = await notes.getRecord("r0", { fields: ["n"] });
  const patched = await notes.updateRecord({ id: "r0", more: true }, { patch: true });
  const stale = await status(notes.updateRecord({ ...first, n: 9 }, { safe: true }));
  const kept = await status(notes.deleteRecord(first, { safe: true }));
  const { data: gone } = await notes.deleteRecord("r1");
  const stamp = await notes.getRecordsTimestamp();
  const pages = [];
  for (let page = await notes.listRecords({ sort: "n", limit: 3 }); ; page = await page.next()) {
    pages.push(page.data.map((one) => one.n));
    if (!page.hasNextPage) break;
  }
  const everything = await notes.listRecords({ limit: 3, pages: Infinity, fields: ["id"] });
  const { data: changed } = await notes.listRecords({ since: String(generated.data.last_modified) });
  const path = `/buckets/${notes.bucket.name}/collections/notes/records`;
  const one = await client.paginatedDelete(path, { sort: "n", limit: 1, filters: { min_n: 5 } }, { headers });
  return {
    taken, first: first.n, patched: [patched.data.n, patched.data.more], stale, kept, pages, stamp,
    gone: gone.deleted, total: await notes.getTotalRecords(), fields: Object.keys(everything.data[0]).sort(),
    everything: everything.data.length, changed: changed.filter((each) => each.deleted).length,
    one: [ids(one), one.hasNextPage], some: ids(await notes.deleteRecords({ filters: { min_n: 6 } })).sort(),
    executed: (await notes.execute({ path: `${path}/r2`, headers })).data.n,
  };
}

async function useFiles({ notes }) {
  const url = `data:text/plain;name=a.txt;base64,${btoa("first")}`;
  const { data: made } = await notes.addAttachment(url, { id: "file", n: 50 }, { gzipped: false });
  const unnamed = url.replace("name=a.txt;", "");
  const { data: renamed } = await notes.addAttachment(unnamed, { id: "file" }, { filename: "b.txt" });
  const stale = await status(notes.addAttachment(url, { ...made }, { safe: true }));
  const text = await (await fetch(renamed.attachment.location)).text();
  await notes.removeAttachment("file");
  const { data: bare } = await notes.getRecord("file");
  return { names: [made, renamed].map((one) => one.attachment.filename), n: made.n, stale, text, bare: bare.attachment };
}

async function useHistory({ bucket, notes }) {
  const { data: now } = await notes.getRecord("r2");
  await notes.updateRecord({ id: "r2", n: 100 });
  const snapshot = await notes.getSnapshot(now.last_modified);
  const again = await notes.listRecords({ at: now.last_modified });
  const { data: entries } = await bucket.listHistory({ filters: { record_id: "r2" }, sort: "last_modified" });
  return {
    complete: await notes.isHistoryComplete(), then: snapshot.data.find((one) => one.id === "r2").n,
    same: JSON.stringify(snapshot.data) === JSON.stringify(again.data), total: snapshot.totalRecords === again.data.length,
    entries: entries.map((one) => one.action), wrong: await status(notes.getSnapshot(-1)),
  };
}

async function useBatches({ client, id, bucket, notes }) {
  const plain = await notes.batch((batch) => {
    for (let n = 0; n < 10; n++) batch.createRecord({ id: `b${n}`, n });
  });
  const many = await bucket.batch((batch) => {
    batch.createCollection("batched");
    batch.collection("batched").createRecord({ id: "inside" });
    batch.createGroup("batched", ["m"]);
  });
  const aggregated = await client.batch((batch) => {
    const inside = batch.bucket(id).collection("notes");
    inside.createRecord({ id: "b0" }, { safe: true });
    inside.deleteRecord("never");
    inside.updateRecord({ id: "b1", n: 11 });
    inside.createRecord({ id: "bad id" });
  }, { aggregate: true, safe: false });
  const nested = await status(client.batch((batch) => batch.batch(() => {})));
  const { published, conflicts, skipped, errors } = aggregated;
  return {
    plain: plain.map((one) => one.status), many: many.map((one) => one.status), nested,
    published: published.map((one) => one.data.n), skipped: skipped.map((one) => one.id),
    conflicts: conflicts.map((one) => one.remote.id), errors: errors.map((one) => one.error.errno),
    none: await notes.batch(() => {}),
  };
}

async function usePermissions({ client, id }) {
  const { data } = await client.listPermissions({ pages: Infinity, limit: 3 });
  const { data: some } = await client.listPermissions({ filters: { resource_name: "collection" } });
  return {
    uris: data.filter((one) => one.uri.startsWith(`/buckets/${id}`)).length === data.length - 1,
    kinds: [...new Set(some.map((one) => one.resource_name))],
    bucket: data.find((one) => one.uri === `/buckets/${id}`).permissions.includes("write"),
  };
}

async function deleteAll({ client }) {
  const deleted = await client.deleteBuckets();
  return { deleted: deleted.data.length, left: (await client.listBuckets()).data.length };
}

const steps = {
  server: askServer, buckets: useBuckets, groups: useGroups, collections: useCollections,
  records: useRecords, files: useFiles, history: useHistory, batches: useBatches,
  permissions: usePermissions, end: deleteAll,
};

export default async function (world, name) {
  const [Client, options] = await classes[name](world);
  const connect = (headers) =>
    new Client(world.url, { headers, events: new EventEmitter(), timeout: 30_000, ...options });
  const headers = { Authorization: basic(`u${randomUUID()}`) };
  const real = connect(headers);
  const used = { client: new Set(), bucket: new Set(), collection: new Set() };
  const wrap = { bucket: [used.bucket, { collection: [used.collection] }] };
  const client = recorded(real, used.client, wrap);
  const anonymous = recorded(connect({}), used.client);
  const id = `b${randomUUID()}`;
  const bucket = client.bucket(id);
  const notes = bucket.collection("notes");
  const at = { client, anonymous, headers, url: world.url, id, bucket, notes };
  const seen = {};
  for (const [step, take] of Object.entries(steps)) seen[step] = await take(at);
  const objects = { client: real, bucket: real.bucket(id), collection: real.bucket(id).collection("notes") };
  seen.unused = Object.entries(objects).flatMap(([kind, object]) =>
    publicNames(object).filter((one) => !used[kind].has(one)).map((one) => `${kind}.${one}`));
  return seen;
}
