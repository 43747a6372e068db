// Two devices of alice follow each other, and others who write meanwhile; their connections are cut.
import { makeDevice, until } from "../devices.mjs";
import { create, stateOf, stateOfServer } from "../replicas.mjs";

const WRITERS = 3;
const WRITES = 30;

export default async function (world) {
  const devices = [makeDevice(world), makeDevice(world)];
  const write = async (number) => {
    for (let turn = 0; turn < WRITES; turn += 1) {
      const record = `${world.records}/w${number}-${turn % 4}`;
      if (turn % 6 === 5) await world.request("DELETE", record);
      else await world.request("PUT", record, { data: { title: `${number} wrote ${turn}` } });
    }
  };
  const edit = async (device, name) => {
    for (let turn = 0; turn < 8; turn += 1) {
      const before = device.syncs;
      await create(device.replica, `${name}-${turn}`, `${name} made ${turn}`);
      device.sync();
      if (turn % 3 === 2) device.cut();
      while (device.syncs === before) await until(device, () => stateOf(device.replica));
    }
  };
  await Promise.all([
    ...Array.from({ length: WRITERS }, (_, number) => write(number)),
    edit(devices[0], "a"),
    edit(devices[1], "b"),
  ]);
  const server = () => stateOfServer(world);
  const states = [await until(devices[0], server), await until(devices[1], server)];
  // Offline, then back: what was written meanwhile is synced without anybody asking.
  devices[0].cut();
  await world.request("PUT", `${world.records}/late`, { data: { title: "late" } });
  const late = await until(devices[0], server);
  for (const device of devices) device.close();
  const seen = devices.map(({ errors, most, syncs }) => ({ errors, most, syncs }));
  return { states, late, server: await server(), seen };
}
