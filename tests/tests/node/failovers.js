// Writes through Sentinel until standard input ends: failovers.js NAME SENTINEL_PORT...
//
// One client object for the whole time; what it acknowledged is read back through it at the end.

const Redis = require("ioredis");

const [name, ...ports] = process.argv.slice(2);
const master = new Redis({
  name,
  sentinels: ports.map((port) => ({ host: "127.0.0.1", port: Number(port) })),
  // A master that hangs closes no connection. (The option failoverDetector would do too, but ioredis 5
  // ends its client when +switch-master arrives while it is asking the Sentinels.)
  socketTimeout: 500,
  maxRetriesPerRequest: null,
  sentinelRetryStrategy: () => 20,
  retryStrategy: () => 20,
  reconnectOnError: (error) => error.message.startsWith("READONLY"),
});
// Each lost connection is reported here too; what counts is what becomes of the commands.
master.on("error", () => {});

let stop = false;
process.stdin.on("end", () => (stop = true)).resume();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function main() {
  const acknowledged = [];
  let errors = 0;
  for (let number = 1; !stop; number++) {
    // A number is never used twice: what failed may have been executed all the same.
    try {
      await master.set(`write:${number}`, number);
      await master.set("progress", number);
      acknowledged.push(number);
      await pause(1);
    } catch {
      errors++;
      await pause(10);
    }
  }
  let missing = 0;
  for (let start = 0; start < acknowledged.length; start += 500) {
    const batch = acknowledged.slice(start, start + 500);
    const found = await master.mget(batch.map((n) => `write:${n}`));
    missing += batch.filter((n, at) => found[at] !== String(n)).length;
  }
  console.log(`acknowledged=${acknowledged.length} missing=${missing} errors=${errors}`);
  process.exit(0);
}

main();
