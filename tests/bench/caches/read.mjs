// Reads values by bentocache on a Redis: so many at once, for so long, from its memory or
// from Redis alone. Tells in one line what it did and what it cost.
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisBusDriver, redisDriver } from "bentocache/drivers/redis";

const [callers, seconds, keys, bytes, near] = process.argv.slice(2).map(Number);
const { hostname: host, port } = new URL(process.env.REDIS_URL);
const connection = { host, port: Number(port) };
const far = bentostore().useL2Layer(redisDriver({ connection }));
const store = near ? far.useL1Layer(memoryDriver({ maxItems: 2 * keys })).useBus(redisBusDriver({ connection })) : far;
const cache = new BentoCache({ default: "store", stores: { store } });
const value = "x".repeat(bytes);
const took = [];

async function call(until) {
  while (performance.now() < until) {
    const begin = performance.now();
    const read = await cache.get({ key: String(Math.floor(Math.random() * keys)) });
    if (read !== value) throw new Error("not what was stored");
    took.push(performance.now() - begin);
  }
}

for (let key = 0; key < keys; key += 1) await cache.set({ key: String(key), value, ttl: "1h" });
const begin = performance.now();
const before = process.cpuUsage();
await Promise.all(Array.from({ length: callers }, () => call(begin + seconds * 1_000)));
const cpu = process.cpuUsage(before);
const elapsed = (performance.now() - begin) / 1_000;
took.sort((one, other) => one - other);
const quantile = (part) => took[Math.floor((took.length - 1) * part)];
console.log(
  JSON.stringify({
    rate: took.length / elapsed,
    cpu_us: (cpu.user + cpu.system) / took.length,
    p50: quantile(0.5),
    p99: quantile(0.99),
  }),
);
await cache.disconnectAll();
