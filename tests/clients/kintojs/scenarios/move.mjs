// Devices that synced with one server sync with another to which all was moved meanwhile: one was
// up to date, one was away and has edits of its own, and one is new.
import { execFileSync } from "node:child_process";
import { create, makeReplica, outcome, retitle, stateOf } from "../replicas.mjs";

export default async function (world, remote, ...command) {
  const [home, away, fresh] = [makeReplica(world), makeReplica(world), makeReplica(world)];
  for (const id of ["kept", "changed", "deleted", "edited"]) await create(home, id, "old");
  await home.sync();
  await away.sync();
  await retitle(home, "changed", "new");
  await home.notes.delete("deleted");
  await home.sync();
  await retitle(away, "edited", "away");
  await create(away, "made", "away");
  execFileSync(command[0], command.slice(1), { stdio: ["ignore", "ignore", "inherit"] });
  const results = [];
  for (const replica of [home, away, fresh, home]) {
    results.push(outcome(await replica.sync({ remote })));
  }
  const witness = makeReplica(world);
  await witness.sync({ remote });
  return {
    results, states: await Promise.all([home, away, fresh].map(stateOf)),
    server: await stateOf(witness),
  };
}
