// A write that the server cannot do at first; the HTTP client of kinto.js tries it again.
import { makeReplica } from "../replicas.mjs";

export default async function (world, bucket) {
  const { kinto, seen } = makeReplica(world);
  const notes = kinto.api.bucket(bucket).collection("notes");
  const { data } = await notes.createRecord({ id: "a", title: "at last" }, { retry: 20 });
  return { title: data.title, events: seen.map((event) => event.name) };
}
