// More offline edits than fit in one batch request.
import { create, makeReplica, outcome, retitle, stateOf, stateOfServer } from "../replicas.mjs";

const TOTAL = 60;

export default async function (world) {
  const a = makeReplica(world);
  const b = makeReplica(world);
  const ids = Array.from({ length: TOTAL }, (_, i) => `n${i}`);
  const sent = [];
  const push = async () => {
    const before = world.watched.requests.length;
    const result = outcome(await a.sync());
    const requests = world.watched.requests.slice(before);
    sent.push(requests.filter(({ url }) => url.pathname.endsWith("/batch")).length);
    return result;
  };
  for (const id of ids) await create(a, id, id);
  const created = await push();
  await b.sync();
  for (const id of ids.slice(0, 30)) await retitle(a, id, `${id} again`);
  for (const id of ids.slice(30)) await a.notes.delete(id);
  const edited = await push();
  const pulled = outcome(await b.sync());
  return {
    batches: sent, created, edited, pulled,
    a: await stateOf(a), b: await stateOf(b), server: await stateOfServer(world),
  };
}
