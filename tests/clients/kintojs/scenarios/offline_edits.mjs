// Two devices write while offline and sync in turns; both also delete.
import { create, makeReplica, outcome, retitle, stateOf, stateOfServer } from "../replicas.mjs";

export default async function (world) {
  const a = makeReplica(world);
  const b = makeReplica(world);
  for (const id of ["keep", "edit", "drop"]) await create(a, id, `a wrote ${id}`);
  for (const id of ["other", "gone"]) await create(b, id, `b wrote ${id}`);
  const syncs = [];
  const sync = async (...replicas) => {
    for (const replica of replicas) syncs.push(outcome(await replica.sync()));
  };
  await sync(a, b, a);
  const first = { a: await stateOf(a), b: await stateOf(b), server: await stateOfServer(world) };

  await retitle(a, "edit", "a edited");
  await a.notes.delete("drop");
  await b.notes.delete("gone");
  await retitle(b, "other", "b edited");
  // Never published, so nobody else may ever hear of it.
  await create(b, "draft", "thrown away");
  await b.notes.delete("draft");
  await sync(a, b, a);
  const second = { a: await stateOf(a), b: await stateOf(b), server: await stateOfServer(world) };

  const { json } = await world.request("GET", `${world.records}?_since=0&deleted=true`);
  const tombstones = json.data.map((t) => [t.id, Object.keys(t).sort()]).sort();
  return { syncs, first, second, tombstones };
}
