// The part of kinto.js that is no replica: plain requests, permissions, pages, totals.
import { makeReplica } from "../replicas.mjs";

const message = (promise) =>
  promise.then(() => null, (error) => ({ message: error.message, data: error.data ?? null }));

export default async function (world) {
  const client = makeReplica(world).kinto.api;
  const stranger = makeReplica(world, { user: "bob" }).kinto.api;
  const bucket = client.bucket(world.bucket);
  const notes = bucket.collection("notes");
  for (let i = 0; i < 12; i++) await notes.createRecord({ id: `n${i}`, rank: i, even: i % 2 === 0 });

  const pages = [];
  for (let page = await notes.listRecords({ sort: "rank", limit: 5 }); ; page = await page.next()) {
    pages.push(page.data.map((r) => r.id));
    if (!page.hasNextPage || pages.length > 20) break;
  }
  const { data: even } = await notes.listRecords({ filters: { even: true, min_rank: 4 } });
  const { data: known } = await notes.getRecord("n1");
  await notes.updateRecord({ ...known, rank: 100 }, { safe: true });
  const stale = await message(notes.updateRecord({ ...known, rank: 200 }, { safe: true }));
  const taken = await message(notes.createRecord({ id: "n2" }, { safe: true }));

  const { id: bob } = await stranger.fetchUser();
  const refused = await message(stranger.bucket(world.bucket).collection("notes").listRecords());
  await notes.addPermissions({ read: [bob] });
  const { data: seen } = await stranger.bucket(world.bucket).collection("notes").listRecords();
  await notes.removePermissions({ read: [bob] });
  const removed = await message(stranger.bucket(world.bucket).collection("notes").listRecords());

  const total = await notes.getTotalRecords();
  const { data: deleted } = await notes.deleteRecords({ filters: { even: true } });
  const left = await notes.getTotalRecords();
  return {
    pages, even: even.map((r) => r.id).sort(), stale, taken, refused, removed,
    seen: seen.length, total, deleted: deleted.length, left,
  };
}
