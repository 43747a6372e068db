// What a server that asks for a pause, and announces its end, makes kinto.js tell the app.
import { create, makeReplica, outcome } from "../replicas.mjs";

export default async function (world) {
  const replica = makeReplica(world);
  await create(replica, "note", "first");
  const before = Date.now();
  const first = outcome(await replica.sync());
  const valuesOf = (name) => replica.seen.filter((e) => e.name === name).map((e) => e.value);
  const backoffs = valuesOf("backoff").map((until) => Math.floor((until - before) / 1000));
  const alerts = valuesOf("deprecated");
  const refused = await replica.sync().then(() => null, (error) => error.message);
  const ignoring = outcome(await replica.sync({ ignoreBackoff: true }));
  return { first, backoffs, alerts, refused, ignoring };
}
