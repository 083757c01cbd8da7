// Finds a partner, says hello, and echoes what they say. Checked by
// `tsc --noEmit --strict`; the page at / does the same with a face.

import { CLOSE, Mingle, MingleError, type Message } from "./mingle.js";

export async function greetSomeone(getToken: () => Promise<string>): Promise<Mingle> {
  const mingle = new Mingle({ url: "https://chat.example.com", getToken });

  mingle.on("matched", async ({ roomId, users }) => {
    await mingle.roomJoin(roomId);
    await mingle.presenceWatch(users.filter((user) => user !== mingle.userId));
    const { seq } = await mingle.send(roomId, "Hello!");
    console.log(`said hello at ${seq + 0}`);
  });
  mingle.on("message", (message: Message) => {
    if (message.senderId === mingle.userId) return;
    mingle.send(message.roomId, `You said: ${message.body}`).catch((error: unknown) => {
      if (error instanceof MingleError && error.reason === "ROOM_CLOSED") return;
      throw error;
    });
  });
  mingle.on("reset", ({ roomId }) => void mingle.history(roomId, { limit: 50 }));
  mingle.on("state", ({ state, error }) => {
    if (state === "closed" && error?.closeCode === CLOSE.SUPERSEDED) console.warn("open elsewhere");
  });

  await mingle.connect();
  await mingle.matchJoin("random-chat", { attributes: { gender: "female" }, wants: { gender: ["male", "other"] } });
  return mingle;
}
