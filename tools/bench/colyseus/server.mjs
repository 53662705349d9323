// The arena (sample-games/arena/RULES.md, 20 Hz) as a Colyseus room, written as its documentation suggests: the state is
// a schema, patches leave at the tick rate, inputs are messages. No TLS.
import { createInterface } from "node:readline";
import { Room, Server } from "@colyseus/core";
import { MapSchema, Schema, defineTypes } from "@colyseus/schema";
import { WebSocketTransport } from "@colyseus/ws-transport";

const HZ = 20;
const [SIDE, RADIUS, SPEED, BULLET_SPEED, HEALTH, DAMAGE, MUZZLE] = [1000, 15, 200, 600, 100, 20, 20];
const [RELOAD, FLIGHT, AWAY, PLAYERS] = [HZ / 4, HZ, HZ * 2, 8];

class Player extends Schema {}
defineTypes(Player, { x: "uint16", y: "uint16", aimX: "int8", aimY: "int8", health: "uint8", score: "uint16" });
class Bullet extends Schema {}
defineTypes(Bullet, { x: "uint16", y: "uint16" });
class State extends Schema {
  constructor() {
    super();
    this.players = new MapSchema();
    this.bullets = new MapSchema();
  }
}
defineTypes(State, { players: { map: Player }, bullets: { map: Bullet } });

const counts = { received: 0, received_bytes: 0, sent: 0, sent_bytes: 0 };
const place = () => RADIUS + Math.random() * (SIDE - 2 * RADIUS);
const hold = (value) => Math.min(Math.max(value, RADIUS), SIDE - RADIUS);

class Arena extends Room {
  onCreate() {
    this.maxClients = PLAYERS;
    this.state = new State();
    this.patchRate = 1000 / HZ;
    this.slots = new Map();
    this.players = new Array(PLAYERS).fill(null);
    this.bullets = [];
    this.fired = 0;
    this.onMessage("input", (client, input) => {
      counts.received += 1;
      this.players[this.slots.get(client.sessionId)].input = input;
    });
    this.setSimulationInterval(() => this.step(), 1000 / HZ);
  }

  onJoin(client) {
    const slot = this.players.indexOf(null);
    this.slots.set(client.sessionId, slot);
    const shown = new Player();
    const input = { go: [0, 0], aim: [0, 0], fire: false };
    this.players[slot] =
      { x: place(), y: place(), aim: [1, 0], health: HEALTH, score: 0, reload: 0, away: 0, input, shown };
    this.show(this.players[slot]);
    this.state.players.set(String(slot), shown);
    client.send("slot", slot);
  }

  onLeave(client) {
    const slot = this.slots.get(client.sessionId);
    this.slots.delete(client.sessionId);
    this.players[slot] = null;
    this.bullets = this.bullets.filter((bullet) => bullet.by !== slot || !this.state.bullets.delete(bullet.id));
    this.state.players.delete(String(slot));
  }

  step() {
    this.players.forEach((player, slot) => player && this.act(player, slot));
    this.bullets = this.bullets.filter((bullet) => this.fly(bullet) || !this.state.bullets.delete(bullet.id));
    for (const player of this.players) if (player) this.show(player);
    counts.sent += this.clients.length;
  }

  act(player, slot) {
    if (player.health === 0) {
      player.away -= 1;
      if (player.away === 0) {
        [player.x, player.y, player.health, player.reload] = [place(), place(), HEALTH, 0];
      }
      return;
    }
    const { go: [x, y], aim: [u, v], fire } = player.input;
    const step = SPEED / HZ / Math.max(Math.sqrt(x * x + y * y), 127);
    player.x = hold(player.x + x * step);
    player.y = hold(player.y + y * step);
    const length = Math.sqrt(u * u + v * v);
    if (length > 0) player.aim = [u / length, v / length];
    if (player.reload > 0) player.reload -= 1;
    if (fire && player.reload === 0) {
      player.reload = RELOAD;
      this.shoot(player, slot);
    }
  }

  shoot(player, by) {
    const [u, v] = player.aim;
    const way = BULLET_SPEED / HZ;
    const shown = new Bullet();
    const id = String(this.fired++);
    const bullet =
      { id, by, x: player.x + u * MUZZLE, y: player.y + v * MUZZLE, step: [u * way, v * way], left: FLIGHT, shown };
    this.bullets.push(bullet);
    shown.x = Math.max(0, bullet.x * 16) | 0;
    shown.y = Math.max(0, bullet.y * 16) | 0;
    this.state.bullets.set(id, shown);
  }

  // Whether the bullet stays.
  fly(bullet) {
    bullet.x += bullet.step[0];
    bullet.y += bullet.step[1];
    bullet.left -= 1;
    if (bullet.x < 0 || bullet.x > SIDE || bullet.y < 0 || bullet.y > SIDE) return false;
    for (let slot = 0; slot < PLAYERS; slot++) {
      const player = this.players[slot];
      if (!player || slot === bullet.by || player.health === 0) continue;
      const [dx, dy] = [player.x - bullet.x, player.y - bullet.y];
      if (dx * dx + dy * dy > RADIUS * RADIUS) continue;
      player.health = Math.max(0, player.health - DAMAGE);
      if (player.health === 0) {
        player.away = AWAY;
        const shooter = this.players[bullet.by];
        shooter.score = Math.min(shooter.score + 1, 65535);
        this.broadcast("kill", { by: bullet.by, whom: slot });
      }
      return false;
    }
    bullet.shown.x = (bullet.x * 16) | 0;
    bullet.shown.y = (bullet.y * 16) | 0;
    return bullet.left > 0;
  }

  show({ shown, x, y, aim, health, score }) {
    shown.x = (x * 16) | 0;
    shown.y = (y * 16) | 0;
    shown.aimX = (aim[0] * 127) | 0;
    shown.aimY = (aim[1] * 127) | 0;
    shown.health = health;
    shown.score = score;
  }
}

const port = Number(process.argv[2]);
const server = new Server({ greet: false, gracefullyShutdown: false, transport: new WebSocketTransport({}) });
server.define("arena", Arena);
await server.listen(port, "127.0.0.1");
console.log(`ready ws://127.0.0.1:${port}`);
const lines = createInterface({ input: process.stdin });
lines.on("line", () => console.log(JSON.stringify(counts)));
lines.on("close", () => process.exit(0));
