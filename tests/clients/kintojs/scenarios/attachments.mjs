// Files of records, put and removed by the HTTP client of kinto.js.
import { makeReplica } from "../replicas.mjs";

const failure = (promise) => promise.then(() => null, (error) => error.message);
const dataURL = (text, name = "notes.txt") =>
  `data:text/plain;name=${name};base64,${btoa(text)}`;

export default async function (world) {
  const notes = makeReplica(world).kinto.api.bucket(world.bucket).collection("notes");
  const { data: made } = await notes.addAttachment(dataURL("first"), { id: "a", title: "with a file" });
  const first = await (await fetch(made.attachment.location)).text();
  const { data: replaced } = await notes.addAttachment(
    dataURL("second", "other.txt"),
    { id: "a", last_modified: made.last_modified },
    { safe: true, permissions: { read: ["system.Everyone"] } },
  );
  const second = await (await fetch(replaced.attachment.location)).text();
  const stale = await failure(
    notes.addAttachment(
      dataURL("third"), { id: "a", last_modified: made.last_modified }, { safe: true },
    ),
  );
  const { data: generated } = await notes.addAttachment(dataURL("generated"));
  await notes.removeAttachment("a", { safe: true, last_modified: replaced.last_modified });
  const { data: removed } = await notes.getRecord("a");
  return { made, first, replaced, second, stale, generated, removed };
}
