// What people notice of a service that is not well: one sentence each, none
// where everything goes on as it was.

/** By service, the gravest first; what holds is the first whose `when` is so. */
const EFFECTS = new Map([
  ["chat", [
    { when: ({ unavailable }) => unavailable, says: "Messages cannot be sent or received right now." },
    { when: away("database"), says: "Messages cannot be sent right now." },
    { when: (part) => away("notifications")(part) && away("redis")(part), says: "Messages may arrive some seconds late." },
    // By the other way they arrive as they always do.
    { when: (part) => away("notifications")(part) || away("redis")(part), says: "" },
    { when: () => true, says: "Sending a message may need a second try." },
  ]],
  ["matchmaking", [
    { when: (part) => part.unavailable || away("database")(part), says: "Nobody new can be found right now." },
    // As it is for good where no direct way to the database was configured.
    { when: ({ causes }) => causes.length === 1 && causes[0] === "notifications", says: "" },
    { when: () => true, says: "Finding someone may take a little longer." },
  ]],
  ["presence", [{ when: () => true, says: "Who is online may be out of date." }]],
  ["ratelimit", [{ when: () => true, says: "You may be asked to slow down sooner than usual." }]],
]);

function away(server) {
  return ({ causes }) => causes.includes(server);
}

/** The sentences for the event `degraded`, empty when there is nothing to notice. */
export function affected({ states, parts }) {
  const known = new Map(parts.map((part) => [part.name, part]));
  const sentences = [];
  for (const [name, effects] of EFFECTS) {
    if (!states.includes(name)) continue;
    const part = known.get(name) ?? { name, unavailable: false, causes: [] };
    sentences.push(effects.find(({ when }) => when(part)).says);
  }
  const others = states.filter((state) => !EFFECTS.has(state));
  if (others.length > 0) sentences.push(`Some things are slower or missing right now: ${others.join(", ")}.`);
  return sentences.filter((sentence) => sentence !== "").join(" ");
}
