// bob's device while alice shares records with him, unshares them, and lets him read all or none.
import { makeDevice, until } from "../devices.mjs";

export default async function (world) {
  const { json } = await world.request("GET", "/", undefined, "bob");
  const bob = json.user.id;
  const collection = `/buckets/${world.bucket}/collections/notes`;
  const permit = (path, permissions) => world.request("PATCH", path, { permissions });
  const share = (id, ...read) => permit(`${world.records}/${id}`, { read });
  const write = (id, title) => world.request("PUT", `${world.records}/${id}`, { data: { title } });
  const steps = {
    "nothing is shared": () => permit(collection, { "record:create": [bob] }),
    "one is shared": () => share("one", bob),
    "another is shared": () => share("two", bob),
    "both are edited": () => Promise.all([write("one", "1 again"), write("two", "2 again")]),
    "what is not shared is edited": () => write("three", "3 again"),
    "one is unshared": () => share("one"),
    "what was unshared is edited": () => write("one", "1 once more"),
    "all may be read": () => permit(collection, { read: [bob] }),
    "one is deleted": () => world.request("DELETE", `${world.records}/one`),
    "all may be read no more": () => permit(collection, { read: [] }),
    "the last is unshared": () => share("two"),
    "one is shared again": () => share("three", bob),
  };
  for (const [id, title] of [["one", "1"], ["two", "2"], ["three", "3"]]) await write(id, title);
  const device = makeDevice(world, "bob");
  const visible = async () => {
    const { json } = await world.request("GET", `${world.records}?_sort=id`, undefined, "bob");
    return Object.fromEntries(json.data.map((one) => [one.id, one.title]));
  };
  const states = {};
  for (const [name, step] of Object.entries(steps)) {
    await step();
    states[name] = await until(device, visible);
  }
  const errors = device.errors.splice(0);
  // Now bob may not even read the collection, as a sync does first; then all of it again.
  await permit(collection, { "record:create": [] });
  await share("three");
  await permit(collection, { read: [bob] });
  states["all may be read after none"] = await until(device, visible);
  device.close();
  return { states, errors, refusals: device.errors, most: device.most };
}
