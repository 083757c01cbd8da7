// A chat server as its manual writes it: rooms over @socket.io/redis-adapter.
// With DATABASE_URL, what is said is counted in Redis and inserted into
// PostgreSQL before it is acknowledged.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import pg from "pg";
import { Server } from "socket.io";

const { REDIS_URL, DATABASE_URL } = process.env;
const QUOTA = 100_000_000;
const WINDOW_S = 60;
const INSERT =
  "insert into socketio_messages (id, room, sender, body, sent_at) values ($1, $2, $3, $4, now())";

const connect = () => new Redis(REDIS_URL).on("error", (error) => console.error(error.message));
const counter = connect();
const database = DATABASE_URL && new pg.Pool({ connectionString: DATABASE_URL, max: 10 });

async function keep(user, { room, id, body }) {
  const key = `rate:${user}`;
  const count = await counter.incr(key);
  if (count === 1) await counter.expire(key, WINDOW_S);
  if (count > QUOTA) return false;
  await database.query(INSERT, [id, room, user, body]);
  return true;
}

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(connect(), connect()),
  transports: ["websocket"],
});
io.on("connection", (socket) => {
  const { user } = socket.handshake.auth;
  socket.on("join", (room, done) => {
    socket.join(room);
    done(true);
  });
  socket.on("send", async (said, done) => {
    try {
      if (database && !(await keep(user, said))) return done(false);
      io.to(said.room).emit("message", { id: said.id, sender: user, body: said.body });
      done(true);
    } catch (error) {
      console.error(error.message);
      done(false);
    }
  });
});
http.listen(0, "127.0.0.1", () => {
  const addr = `127.0.0.1:${http.address().port}`;
  console.log(JSON.stringify({ ready: "socketio", addr }));
});
