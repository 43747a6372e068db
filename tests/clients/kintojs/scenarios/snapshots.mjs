// A collection as it was: what kinto-admin shows of the past.
import { makeReplica } from "../replicas.mjs";

const titles = ({ data }) => data.map((record) => [record.id, record.title]);

export default async function (world) {
  const notes = makeReplica(world).kinto.api.bucket(world.bucket).collection("notes");
  for (const id of ["a", "b", "c"]) await notes.createRecord({ id, title: `first ${id}` });
  const { data: kept } = await notes.getRecord("c");
  const at = kept.last_modified;
  await notes.updateRecord({ id: "a", title: "second a" });
  await notes.deleteRecord("b");
  await notes.createRecord({ id: "d", title: "first d" });

  const then = await notes.listRecords({ at });
  const before = await notes.listRecords({ at: at - 3_600_000 });
  const later = await notes.listRecords({ at: Date.now() + 3_600_000 });
  const { data: deleted } = await notes.getRecord("b", { query: { _at: String(at) } });
  return {
    then: titles(then), before: titles(before), later: titles(later),
    stamp: then.last_modified === String(at), total: then.totalRecords,
    deleted: deleted.title,
    asked: world.watched.requests.map((one) => one.url.pathname).filter((path) => path.includes("history")),
  };
}
