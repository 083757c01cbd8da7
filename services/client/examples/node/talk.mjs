// A server of one's own in Node talks in a room, reads it back, and asks who is
// online.
//
//   npm install
//   node talk.mjs 127.0.0.1:50051 [folder of the .proto files]

import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const ROBOT = "robot";
const [target = "127.0.0.1:50051", proto = fileURLToPath(new URL("../../../../proto", import.meta.url))] = process.argv.slice(2);

const files = ["mingle/chat/v1/chat.proto", "mingle/presence/v1/presence.proto"];
const loaded = loadSync(files, { includeDirs: [proto], longs: String, enums: String, defaults: true, oneofs: true });
const { chat, presence } = grpc.loadPackageDefinition(loaded).mingle;

const metadata = new grpc.Metadata();
const token = process.env.MINGLE_INTERNAL_TOKEN;
if (token) metadata.set("authorization", `Bearer ${token}`);

/** A client whose calls are promises, with a deadline. */
function connect(Service) {
  const client = new Service(target, grpc.credentials.createInsecure());
  const ask = (method, request) =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + 10_000;
      client[method](request, metadata, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  return { ask, close: () => client.close() };
}

const rooms = connect(chat.v1.ChatService);
const people = connect(presence.v1.PresenceService);

// The actor is the user on whose behalf a server asks. The external id makes it
// the same room each time.
const { room } = await rooms.ask("CreateRoom", { actor: ROBOT, kind: "ROOM_KIND_CHANNEL", name: "lobby", externalId: "lobby" });
console.log("room", room.roomId);

// Asked again with the same key, it is said once.
const message = { actor: ROBOT, roomId: room.roomId, clientMsgId: randomUUID(), body: "hello from Node" };
const first = await rooms.ask("Send", message);
const again = await rooms.ask("Send", message);
console.log("said", first.seq, first.messageId === again.messageId ? "once" : "twice");

const { messages } = await rooms.ask("History", { actor: ROBOT, roomId: room.roomId, limit: 10 });
for (const { seq, senderId, body } of messages) console.log(seq, senderId, body);

const { presences } = await people.ask("GetMany", { userIds: ["ann", ROBOT] });
for (const { userId, status } of presences) console.log(userId, status);

await rooms.ask("Send", { ...message, clientMsgId: "" }).catch((error) => console.log("refused", grpc.status[error.code], error.details));
rooms.close();
people.close();
