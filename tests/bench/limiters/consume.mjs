// Consumes points of rate-limiter-flexible on a Redis: so many at once, for so long, of
// new keys or of one. Tells in one line what it did and what it cost.
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";

const [callers, seconds, one] = process.argv.slice(2).map(Number);
const storeClient = new Redis(process.env.REDIS_URL, { enableOfflineQueue: true });
const points = one ? 1_000_000_000 : 30;
const limiter = new RateLimiterRedis({ storeClient, points, duration: 60, keyPrefix: "flexible" });
const run = Math.random().toString(36).slice(2);
const took = [];
let number = 0;

async function call(until) {
  while (performance.now() < until) {
    const begin = performance.now();
    await limiter.consume(one ? run : `${run}-${(number += 1)}`, 1);
    took.push(performance.now() - begin);
  }
}

await storeClient.ping();
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
storeClient.disconnect();
