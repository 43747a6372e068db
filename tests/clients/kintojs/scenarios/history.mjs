// What a client of Kinto asks of a bucket's history, as kinto-admin does.
import { makeReplica } from "../replicas.mjs";

const short = ({ data }) => data.map((e) => `${e.action} ${e.uri.split("/").pop()}`);

export default async function (world) {
  const bucket = makeReplica(world).kinto.api.bucket(world.bucket);
  const notes = bucket.collection("notes");
  for (let i = 0; i < 4; i++) await notes.createRecord({ id: `n${i}`, rank: i });
  await notes.updateRecord({ id: "n1", rank: 10 });
  await notes.deleteRecord("n2");

  const pages = [];
  for (let page = await bucket.listHistory({ limit: 3, filters: { resource_name: "record" } }); ; page = await page.next()) {
    pages.push(short(page));
    if (!page.hasNextPage || pages.length > 20) break;
  }
  const first = await bucket.listHistory({ limit: 1, sort: "last_modified" });
  const since = await bucket.listHistory({ since: first.last_modified });
  const { data: before } = await notes.getRecord("n3");
  const later = await bucket.listHistory({
    filters: { "gt_target.data.last_modified": before.last_modified, exclude_resource_name: "bucket,collection" },
  });
  const ranked = await bucket.listHistory({ filters: { "target.data.rank": 10 } });
  const others = await bucket.listHistory({ filters: { like_user_id: "account:*" } });
  return {
    pages, first: short(first), since: since.data.length, later: short(later),
    ranked: short(ranked), others: others.data.length,
  };
}
