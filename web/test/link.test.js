import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Link } from '../src/link.js';

/** A WebSocket that does what the test tells it. */
class Socket {
  static OPEN = 1;
  static all = [];

  constructor(url, protocol) {
    Object.assign(this, { url, protocol, readyState: 0, sent: [] });
    Socket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  open(protocol = this.protocol) {
    Object.assign(this, { protocol, readyState: 1 });
    this.onopen();
  }

  say(message) {
    this.onmessage({ data: typeof message === 'string' ? message : JSON.stringify(message) });
  }

  answer() {
    for (const { type, id } of this.sent.splice(0)) {
      if (type === 'ping') this.say({ type: 'pong', id, server_s: 100 });
    }
  }
}

const HELLO = {
  type: 'hello',
  protocol: 1,
  names: ['jawOpen'],
  fps: 60,
  server_s: 1,
  rig: { url: '/rig.glb', sha256: 'ab', shapes: {} },
};

let link;
let heard;
let now_ms;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  now_ms = 0;
  mock.method(performance, 'now', () => now_ms);
  mock.method(console, 'warn', () => {});
  Socket.all = [];
  globalThis.WebSocket = Socket;
  globalThis.fetch = async () => {
    throw new TypeError('the server is away');
  };
  heard = { hellos: 0, pongs: 0, frames: 0, outdated: 0, connected: [] };
  link = new Link('ws://robot/live', {
    hello: () => (heard.hellos += 1),
    frame: () => (heard.frames += 1),
    sound: () => {},
    pong: () => (heard.pongs += 1),
    statistics: () => ({ fps: 60 }),
    connected: (connected) => heard.connected.push(connected),
    outdated: () => (heard.outdated += 1),
  });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** Let time pass in steps of 10 ms. @param {number} duration_ms @param {() => void} [each] */
function pass(duration_ms, each = () => {}) {
  for (let end_ms = now_ms + duration_ms; now_ms < end_ms; ) {
    now_ms += 10;
    mock.timers.tick(10);
    each();
  }
}

const latest = () => Socket.all.at(-1);

test('eight pings quickly, then one a second with the statistics, far below 20 a second', () => {
  latest().open();
  latest().say(HELLO);
  let messages = 0;
  const send = latest().send.bind(latest());
  latest().send = (text) => {
    messages += 1;
    send(text);
  };
  pass(1000, () => latest().answer());
  assert.ok(heard.pongs >= 8);
  assert.ok(messages < 12);
  messages = 0;
  pass(5000);
  assert.ok(messages >= 8 && messages <= 12, `${messages}`);
  assert.ok(latest().sent.some(({ type }) => type === 'stats'));
});

test('it comes back after the server was away, and greets anew', () => {
  latest().open();
  latest().say(HELLO);
  latest().onclose({ code: 1001 });
  assert.deepEqual(heard.connected, [true, false]);
  pass(400);
  assert.equal(Socket.all.length, 2);
  latest().onclose({ code: 1006 });
  pass(5000);
  assert.ok(Socket.all.length >= 3);
  latest().open();
  latest().say(HELLO);
  assert.equal(heard.hellos, 2);
  assert.equal(heard.outdated, 0);
});

test('a network that is dead is noticed, one that stands still for 2 s is left alone', () => {
  latest().open();
  latest().say(HELLO);
  pass(2000, () => latest().answer());
  pass(2000);
  pass(2000, () => latest().answer());
  assert.equal(Socket.all.length, 1);
  pass(9000);
  assert.ok(Socket.all.length > 1);
  assert.equal(heard.connected.at(-1), false);
});

test('a hidden page, whose timers come once a minute, stays connected', () => {
  latest().open();
  latest().say(HELLO);
  pass(2000, () => latest().answer());
  for (let minute = 0; minute < 5; minute += 1) {
    now_ms += 60_000;
    mock.timers.tick(1000);
    latest().answer();
  }
  assert.equal(Socket.all.length, 1);
});

test('another protocol is told', () => {
  latest().open('dualtalker-face-2');
  assert.equal(heard.outdated, 1);
  latest().say({ type: 'hello', protocol: 2 });
  assert.equal(heard.outdated, 2);
  latest().onclose({ code: 1002 });
  assert.equal(heard.outdated, 3);
  assert.equal(heard.hellos, 0);
});

test('a refused handshake looks for a newer page', async () => {
  globalThis.fetch = async () => ({ ok: true, text: async () => 'dualtalker-face-2' });
  latest().onclose({ code: 1006 });
  await new Promise(setImmediate);
  assert.equal(heard.outdated, 1);
});

test('nonsense is refused and counted, and what follows is heard', () => {
  latest().open();
  latest().onmessage({ data: new ArrayBuffer(5) }); // before the hello: ignored
  latest().say(HELLO);
  latest().onmessage({ data: new ArrayBuffer(5) });
  latest().say('{');
  assert.equal(link.refused, 2);
  assert.equal(heard.hellos, 1);
});
