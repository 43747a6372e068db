// The first pull of a list that is sent in pages, while somebody else goes on writing.
import { makeReplica, outcome, stateOf, stateOfServer } from "../replicas.mjs";

const TOTAL = 60;

async function fill(world) {
  const ids = Array.from({ length: TOTAL }, (_, i) => `n${String(i).padStart(3, "0")}`);
  for (let at = 0; at < TOTAL; at += 20) {
    const requests = ids.slice(at, at + 20).map((id) => ({
      method: "PUT", path: `${world.records}/${id}`, body: { data: { title: id } },
    }));
    await world.request("POST", "/batch", { requests });
  }
}

export default async function (world) {
  await fill(world);
  const replica = makeReplica(world);
  const isPage = ({ url }) => url.searchParams.has("_token");
  let stepped = false;
  world.watched.before = async (request) => {
    if (stepped || !isPage(request)) return;
    stepped = true;
    // The newest come first, so n059 is in the page already delivered and n000 is still to come.
    await world.request("PATCH", `${world.records}/n059`, { data: { title: "edited" } });
    await world.request("PATCH", `${world.records}/n000`, { data: { title: "edited" } });
    await world.request("DELETE", `${world.records}/n058`);
    await world.request("PUT", `${world.records}/late`, { data: { title: "late" } });
  };
  const first = outcome(await replica.sync());
  const pages = world.watched.requests.filter(isPage).length + 1;
  const second = outcome(await replica.sync());
  return {
    pages, first, second,
    replica: await stateOf(replica),
    server: await stateOfServer(world),
  };
}
