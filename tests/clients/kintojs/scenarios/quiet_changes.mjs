// Changes that leave little or nothing to show; after each one every replica syncs. kinto.js
// takes a server for flushed whose list moved on without a record or tombstone to show for it.
import { create, makeReplica, stateOf, stateOfServer } from "../replicas.mjs";

const record = (world, id) => `${world.records}/${id}`;
const collection = (world) => `/buckets/${world.bucket}/collections/notes`;

const changes = {
  "nothing at all": async () => {},
  "a record comes and goes": async (world) => {
    await world.request("PUT", record(world, "brief"), { data: { title: "brief" } });
    await world.request("DELETE", record(world, "brief"));
  },
  "a patch that changes nothing": (world) =>
    world.request("PATCH", record(world, "note"), { data: { title: "first" } }),
  "a record's permissions": (world) =>
    world.request("PATCH", record(world, "note"), { permissions: { read: ["system.Everyone"] } }),
  "the collection's metadata": (world) =>
    world.request("PATCH", collection(world), { data: { displayFields: ["title"] } }),
  "the collection's permissions": (world) =>
    world.request("PATCH", collection(world), { permissions: { read: ["system.Everyone"] } }),
  "a record of another collection": async (world) => {
    await world.request("PUT", `/buckets/${world.bucket}/collections/other`);
    await world.request("POST", `/buckets/${world.bucket}/collections/other/records`, { data: {} });
  },
  "a record dated in the past": (world) =>
    world.request("PUT", record(world, "old"), { data: { title: "old", last_modified: 1000 } }),
  "a delete that finds nothing": (world) =>
    world.request("DELETE", `${world.records}?title=no-such-title`),
  "a delete of everything": (world) => world.request("DELETE", world.records),
  "a list left empty, twice looked at": async (world) => {
    await world.request("GET", world.records);
    await world.request("GET", world.records);
  },
};

export default async function (world) {
  const replicas = [makeReplica(world), makeReplica(world)];
  await create(replicas[0], "note", "first");
  await create(replicas[0], "more", "second");
  for (const replica of replicas) await replica.sync();
  const failures = [];
  for (const [name, change] of Object.entries(changes)) {
    await change(world);
    for (const replica of replicas) {
      await replica.sync().then(
        (result) => result.ok || failures.push([name, "not ok"]),
        (error) => failures.push([name, error.message]),
      );
    }
  }
  return {
    changes: Object.keys(changes), failures,
    states: await Promise.all(replicas.map(stateOf)), server: await stateOfServer(world),
  };
}
