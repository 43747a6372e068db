// bob may read some of alice's records only; her other records change all the time.
import { makeReplica, outcome, stateOf } from "../replicas.mjs";

export default async function (world) {
  const { json } = await world.request("GET", "/", undefined, "bob");
  const permissions = { read: [json.user.id] };
  const write = (id, title, more = {}) =>
    world.request("PUT", `${world.records}/${id}`, { data: { title }, ...more });
  await world.request("PATCH", `/buckets/${world.bucket}/collections/notes`, {
    permissions: { "record:create": [json.user.id] },
  });
  await write("shared", "for bob", { permissions });
  await write("private", "not for bob");

  const bob = makeReplica(world, { user: "bob" });
  const states = [];
  const failures = [];
  const sync = async () => {
    await bob.sync().then(
      (result) => result.ok || failures.push(outcome(result)),
      (error) => failures.push(error.message),
    );
    states.push(await stateOf(bob));
  };
  await sync();
  await write("private", "still not for bob");
  await sync();
  await world.request("DELETE", `${world.records}/private`);
  await sync();
  await write("shared", "for bob again");
  await sync();
  await write("another", "also for bob", { permissions });
  await sync();
  await world.request("DELETE", `${world.records}/another`);
  await sync();
  return { states, failures };
}
