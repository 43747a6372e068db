// Requests of syncs that fail, for a while or for good, while the server says what has changed.
import { makeDevice, until } from "../devices.mjs";
import { stateOfServer } from "../replicas.mjs";

export default async function (world) {
  let failures = 0;
  world.watched.before = async () => {
    if (failures-- > 0) throw new TypeError("the network is down");
  };
  const device = makeDevice(world);
  const server = () => stateOfServer(world);
  await until(device, server);
  failures = 3;
  await world.request("PUT", `${world.records}/a`, { data: { title: "a" } });
  const state = await until(device, server);
  const errors = device.errors.splice(0);
  // Nobody knows this user: the first sync is never asked for.
  const stranger = makeDevice(world, "alice", { authorization: "Bearer none" });
  while (stranger.errors.length === 0) await until(stranger, async () => ({}));
  device.close();
  stranger.close();
  return { state, errors, later: device.errors, stranger: stranger.syncs };
}
