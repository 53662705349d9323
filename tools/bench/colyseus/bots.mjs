// The arena's bots (sample-games/arena/src/bot.rs) as clients of the Colyseus room: `bots.mjs URL MATCHES`. Every player
// sends 20 inputs a second in its own phase.
import { createInterface } from "node:readline";
import { Client } from "@colyseus/sdk";

const [url, matches] = [process.argv[2], Number(process.argv[3])];
const [PLAYERS, INTERVAL, PHASES] = [8, 50, 20];
const [COMFORT, RANGE] = [200 * 16, 550 * 16];
const counts = { received: 0, received_bytes: 0, sent: 0, sent_bytes: 0 };

const scale = (x, y) => {
  const longer = Math.max(Math.abs(x), Math.abs(y), 1);
  return [Math.trunc((x * 127) / longer), Math.trunc((y * 127) / longer)];
};

function policy(slot, state) {
  const me = state.players.get(String(slot));
  if (!me) return { go: [0, 0], aim: [0, 0], fire: false };
  let [best, x, y] = [Infinity, 0, 0];
  state.players.forEach((player, key) => {
    if (Number(key) === slot || player.health === 0) return;
    const [dx, dy] = [player.x - me.x, player.y - me.y];
    if (dx * dx + dy * dy < best) [best, x, y] = [dx * dx + dy * dy, dx, dy];
  });
  if (best === Infinity) return { go: scale(8000 - me.x, 8000 - me.y), aim: [0, 0], fire: false };
  const turn = slot % 2 === 0 ? 1 : -1;
  const closer = best < COMFORT * COMFORT ? -1 : 1;
  return { go: scale(closer * x - turn * y, closer * y + turn * x), aim: scale(x, y), fire: best < RANGE * RANGE };
}

function sit(room) {
  const seat = { room, slot: 0 };
  room.onMessage("slot", (slot) => { seat.slot = slot; });
  room.onMessage("kill", () => {});
  room.onStateChange(() => { counts.received += 1; });
  return seat;
}

const seats = [];
for (let match = 0; match < matches; match++) {
  const first = await new Client(url).create("arena");
  seats.push(sit(first));
  for (let player = 1; player < PLAYERS; player++) {
    seats.push(sit(await new Client(url).joinById(first.roomId)));
  }
}
const started = performance.now();
let round = 0;
setInterval(() => {
  const due = ((performance.now() - started) * PHASES) / INTERVAL;
  for (; round < due; round++) {
    for (let at = round % PHASES; at < seats.length; at += PHASES) {
      const { room, slot } = seats[at];
      room.send("input", policy(slot, room.state));
      counts.sent += 1;
    }
  }
}, 1);
console.log("ready");
const lines = createInterface({ input: process.stdin });
lines.on("line", () => console.log(JSON.stringify(counts)));
lines.on("close", () => process.exit(0));
