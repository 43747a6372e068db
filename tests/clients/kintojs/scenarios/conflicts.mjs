// Two devices change the same record; the second to sync meets a conflict.
import {
  create, makeReplica, outcome, retitle, stateOf, stateOfServer, strategies,
} from "../replicas.mjs";

// What `ours` does offline, and what `theirs` has published by the time `ours` syncs.
const edits = {
  "update/update": [
    (ours) => retitle(ours, "note", "ours"),
    (theirs) => retitle(theirs, "note", "theirs"),
  ],
  "update/delete": [
    (ours) => retitle(ours, "note", "ours"),
    (theirs) => theirs.notes.delete("note"),
  ],
  "delete/update": [
    (ours) => ours.notes.delete("note"),
    (theirs) => retitle(theirs, "note", "theirs"),
  ],
  "create/create": [
    (ours) => create(ours, "fresh", "ours"),
    (theirs) => create(theirs, "fresh", "theirs"),
  ],
};

/** What an app may do: keep both texts; but what is gone on the server is gone. */
async function resolve(replica, { local, remote }) {
  if (remote === null || remote.deleted) return replica.notes.delete(local.id, { virtual: false });
  const title = [local.title, remote.title].filter(Boolean).join(" and ");
  return replica.notes.resolve({ local, remote }, { id: local.id, title });
}

export default async function (world, edit, strategy, moment) {
  const [editOurs, editTheirs] = edits[edit];
  const theirs = makeReplica(world);
  const publishTheirs = async () => {
    await editTheirs(theirs);
    const result = await theirs.sync();
    if (!result.ok) throw new Error("theirs could not publish");
  };
  // Runs between the pull and the push of a sync: the only way to meet the server's own 412.
  let between = async () => {};
  const hook = async (payload) => {
    await between();
    return payload;
  };
  const ours = makeReplica(world, { hooks: { "incoming-changes": [hook] } });
  await create(ours, "note", "first");
  await ours.sync();
  await theirs.sync();

  await editOurs(ours);
  if (moment === "before") await publishTheirs();
  between = async () => {
    between = async () => {};
    if (moment === "meanwhile") await publishTheirs();
  };
  const syncs = [await ours.sync({ strategy: strategies[strategy] })];
  if (strategy === "MANUAL") {
    for (const conflict of syncs[0].conflicts) await resolve(ours, conflict);
  }
  syncs.push(await ours.sync({ strategy: strategies[strategy] }));
  syncs.push(await theirs.sync());
  return {
    syncs: syncs.map(outcome),
    ours: await stateOf(ours),
    theirs: await stateOf(theirs),
    server: await stateOfServer(world),
  };
}
