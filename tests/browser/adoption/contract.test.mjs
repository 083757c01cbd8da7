// The served documents against the server: every answer and every frame of a
// talk is as they say, and what they say is required is.

import assert from "node:assert/strict";
import Ajv from "ajv/dist/2020.js";
import WebSocket from "ws";
import { Recorder, devToken } from "../client.mjs";
import { until } from "../program.mjs";
import { adopterTest } from "./adopter.mjs";

/** What a document says of values: `fits(pointer, value)` answers what is wrong with it, or "". */
function judge(document) {
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: "document", ...document });
  return (pointer, value) => {
    const validate = ajv.getSchema(`document#${pointer}`);
    return validate(value) ? "" : `${pointer}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`;
  };
}

const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1").replaceAll("{", "%7B").replaceAll("}", "%7D");

/** The HTTP API by the names of its document; each answer is judged by it. */
async function api(url) {
  const document = await (await fetch(`${url}/api/openapi.json`)).json();
  const fits = judge(document);
  const asked = new Set();
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
  const call = async (id, { path: places = {}, query = "", token = "", body } = {}) => {
    const { path, method, responses } = operations.find(({ operationId }) => operationId === id);
    asked.add(id);
    const place = path.replaceAll(/\{(\w+)\}/g, (_, name) => places[name]);
    const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body && { "content-type": "application/json" }) };
    const response = await fetch(`${url}${place}${query}`, { method: method.toUpperCase(), headers, body: body && JSON.stringify(body) });
    const status = [String(response.status), `${Math.floor(response.status / 100)}XX`].find((known) => known in responses);
    assert.ok(status, `${id} answered ${response.status}, which its document does not know`);
    const [type] = response.headers.get("content-type").split(";");
    const said = type.endsWith("json") ? await response.json() : await response.text();
    const pointer = responses[status].$ref?.slice(1) ?? `/paths/${escaped(path)}/${method}/responses/${status}`;
    assert.equal(fits(`${pointer}/content/${escaped(type)}/schema`, said), "");
    return said;
  };
  const bodies = operations.filter(({ requestBody }) => requestBody).map(({ operationId, requestBody }) => [operationId, requestBody.content["application/json"].schema.$ref.slice(1)]);
  const required = (pointer) => document.components.schemas[pointer.split("/").at(-1)].required;
  return { call, fits, asked, bodies, required, ids: operations.map(({ operationId }) => operationId) };
}

adopterTest("every operation of the HTTP document answers as it says, and misses what it requires", async (mingle) => {
  const { url } = await mingle.wire();
  const { call, fits, asked, bodies, required, ids } = await api(url);
  const { token } = await call("developmentToken", { body: { userId: "ann" } });
  const good = {
    developmentToken: { userId: "bob" },
    createRoom: { kind: "DIRECT", name: "", memberIds: ["ann", "bob"], externalId: "one" },
    sendMessage: { clientMsgId: "1", body: "hi", metadata: { mood: "good" } },
    createTicket: { pool: "random-chat", attributes: { gender: "other" }, wants: { gender: ["female"] } },
  };
  const { roomId } = await call("createRoom", { token, body: good.createRoom });
  const path = { id: roomId };
  await call("sendMessage", { token, path, body: good.sendMessage });
  assert.equal((await call("history", { token, path, query: "?limit=1" })).messages.length, 1);
  assert.equal((await call("listRooms", { token, query: "?pageSize=1" })).rooms.length, 1);
  const { ticketId } = await call("createTicket", { token, body: good.createTicket });
  for (const id of ["readTicket", "cancelTicket"]) await call(id, { token, path: { id: ticketId } });
  await call("readPool", { token, path: { pool: "random-chat" } });
  await call("readPresence", { token, query: "?user=ann&user=bob" });
  for (const id of ["countPresence", "health", "healthAlias", "live", "ready", "openapi", "asyncapi"]) await call(id, { token });
  const { token: operator } = await call("developmentToken", { body: { userId: "root", roles: ["admin"] } });
  for (const id of ["systemStats", "performanceStats", "adminStats", "redisMetrics", "redisHealth", "clearCache"]) await call(id, { token: operator });
  assert.deepEqual(ids.filter((id) => !asked.has(id)), ["connect"], "all but the socket were asked");

  assert.deepEqual(bodies.map(([id]) => id).sort(), Object.keys(good).sort());
  for (const [id, pointer] of bodies) {
    assert.equal(fits(pointer, good[id]), "");
    assert.notEqual(fits(pointer, { ...good[id], surprise: 1 }), "");
    assert.equal((await call(id, { token, path, body: { ...good[id], surprise: 1 } })).reason, "UNKNOWN_FIELD");
    for (const name of required(pointer)) {
      const { [name]: _, ...rest } = good[id];
      const refused = await call(id, { token, path, body: rest });
      assert.deepEqual([refused.status, refused.field], [400, name], JSON.stringify(refused));
    }
  }
  assert.equal((await call("history", { token: "forged", path })).status, 401);
  assert.equal((await call("history", { token, path: { id: "nowhere" } })).status, 404);
});

/** Sockets whose frames are written down, as `{socket, isSent, frame}`. */
function tapped(frames) {
  return class extends WebSocket {
    constructor(...args) {
      super(...args);
      this.addEventListener("message", ({ data }) => frames.push({ socket: this, isSent: false, frame: JSON.parse(data) }));
    }

    send(text, ...rest) {
      frames.push({ socket: this, isSent: true, frame: JSON.parse(text) });
      super.send(text, ...rest);
    }
  };
}

/** Which message of the document a frame is. */
function messageOf({ isSent, frame }) {
  const kind = Object.keys(frame).find((key) => key !== "id");
  if (isSent) return `request.${kind}`;
  return `${frame.id === undefined ? "event" : "reply"}.${kind}`;
}

/** Two do everything that clients can do; answers all frames of both. */
async function talk(mingle) {
  const frames = [];
  const { url } = await mingle.wire();
  const person = (user) => new Recorder({ url, webSocket: tapped(frames), getToken: () => devToken(url, user) });
  const [ann, bob] = [person("ann"), person("bob")];
  for (const each of [ann, bob]) await each.connect();
  const { ticketId } = await ann.matchJoin("random-chat", { attributes: { gender: "female" } });
  await ann.matchLeave(ticketId);
  for (const each of [ann, bob]) await each.matchJoin("random-chat", { attributes: { gender: "female" } });
  for (const each of [ann, bob]) await until("they are matched", () => each.told("matched").length === 1);
  const [{ roomId }] = ann.told("matched");
  for (const each of [ann, bob]) await each.roomJoin(roomId, { after: { seq: 0, id: "" } });
  await ann.presenceWatch(["bob"]);
  await bob.presenceSet("BUSY");
  bob.typing(roomId);
  const { messageId, seq } = await bob.send(roomId, "hi", { metadata: { mood: "good" } });
  await bob.edit(roomId, messageId, "hello");
  await ann.read(roomId, seq);
  await bob.delete(roomId, messageId);
  await ann.history(roomId, { limit: 10 });
  await ann.ping();
  await assert.rejects(ann.send("nowhere", "hi"), { code: "NOT_FOUND" });
  const heard = (person, name) => until(`${person.userId} hears ${name}`, () => person.told(name).length > 0);
  for (const name of ["edited", "deleted", "typing", "presence"]) await heard(ann, name);
  await heard(bob, "read");
  await bob.roomLeave(roomId);
  await heard(ann, "roomClosed");
  const over = mingle.terminate();
  for (const each of [ann, bob]) await heard(each, "draining");
  for (const each of [ann, bob]) each.close();
  await over;
  return frames;
}

adopterTest("every frame of a talk is one of the socket's document, which is to be seen whole", async (mingle) => {
  const { url } = await mingle.wire();
  const document = await (await fetch(`${url}/api/asyncapi.json`)).json();
  const fits = judge(document);
  const { messages } = document.components;
  const frames = await talk(mingle);
  const seen = new Set();
  for (const each of frames) {
    const name = messageOf(each);
    assert.ok(name in messages, `${name} is in the document`);
    seen.add(name);
    assert.equal(fits(`/components/messages/${name}/payload`, each.frame), "");
  }
  // What only a fault or an outage shows.
  assert.deepEqual(Object.keys(messages).filter((name) => !seen.has(name)), ["event.degraded", "event.gap"]);

  const calm = frames.slice(0, frames.findIndex(({ frame }) => frame.draining));
  const answered = (asked) => calm.find(({ socket, isSent, frame }) => socket === asked.socket && !isSent && frame.id === asked.frame.id);
  for (const asked of calm.filter(({ isSent }) => isSent)) {
    const name = messageOf(asked);
    const { reply } = document.operations[name.slice("request.".length)];
    const known = reply.messages.map(({ $ref }) => $ref.split("/").at(-1));
    const answer = answered(asked);
    assert.ok(answer && known.includes(messageOf(answer)), `${name}: ${JSON.stringify(answer?.frame)} is none of ${known}`);
  }
});

adopterTest("a request without what the socket's document requires is refused by that field", async (mingle) => {
  const { url } = await mingle.wire();
  const { components } = await (await fetch(`${url}/api/asyncapi.json`)).json();
  const ann = new WebSocket(`${url.replace("http", "ws")}/ws`, ["mingle.v1.json"]);
  const replies = new Map();
  ann.addEventListener("message", ({ data }) => replies.set(JSON.parse(data).id, JSON.parse(data)));
  await new Promise((resolve) => ann.addEventListener("open", resolve));
  const ask = async (id, kind, body) => {
    ann.send(JSON.stringify({ id, [kind]: body }));
    await until(`an answer to ${kind}`, () => replies.has(id));
    return replies.get(id);
  };
  const { token } = await devToken(url, "ann");
  assert.equal((await ask(1, "hello", {})).error.field, "token");
  assert.ok((await ask(2, "hello", { token })).welcome);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const { roomId } = await (await fetch(`${url}/api/rooms`, { method: "POST", headers, body: '{"kind":"CHANNEL"}' })).json();
  const known = { roomId, status: "BUSY" };
  let id = 2;
  for (const [name, { payload }] of Object.entries(components.messages)) {
    const kind = name.replace(/^request\./, "");
    if (kind === name || kind === "hello") continue;
    const schema = components.schemas[payload.properties[kind].$ref.split("/").at(-1)];
    const good = Object.fromEntries((schema.required ?? []).map((field) => [field, known[field] ?? "x"]));
    for (const field of Object.keys(good)) {
      const { [field]: _, ...rest } = good;
      const { error } = await ask((id += 1), kind, rest);
      assert.deepEqual([error?.code, error?.field], ["INVALID_ARGUMENT", field], JSON.stringify(error));
    }
  }
  assert.ok(id > 15, `${id} frames`);
  ann.close();
});
