/**
 * The connection to the server: it comes back by itself, measures the clock and tells statistics.
 */

import {
  PROTOCOL,
  ProtocolError,
  SUBPROTOCOL,
  decodeBinary,
  decodeText,
  encodePing,
  encodeStatistics,
} from './protocol.js';

const FIRST_WAIT_S = 0.25;
const LONGEST_WAIT_S = 4;
const BURST = 8; // pings at first
const BURST_INTERVAL_S = 0.08;
const PING_INTERVAL_S = 1;
const SILENT_S = 6; // with a ping unanswered for so long, the connection is taken for dead
const WRONG_PROTOCOL = 1002;

/** @typedef {import('./protocol.js').Hello} Hello */

/**
 * @typedef {object} Listener
 * @property {(hello: Hello) => void} hello
 * @property {(frame: import('./protocol.js').Frame) => void} frame
 * @property {(sound: import('./protocol.js').Sound) => void} sound
 * @property {(sent_s: number, received_s: number, server_s: number) => void} pong
 * @property {() => Record<string, number>} statistics
 * @property {(connected: boolean) => void} connected
 * @property {(why: string) => void} outdated the server speaks otherwise: load the page anew
 */

/**
 * How long to wait before the n-th try in a row: twice as long each time, 0.25 to 4 s, with
 * jitter, so that many screens do not come at once.
 * @param {number} tries @param {number} random in [0, 1)
 */
export function waitBefore(tries, random) {
  const wait_s = FIRST_WAIT_S * 2 ** Math.min(tries, 10) * (1 + 0.5 * random);
  return Math.min(LONGEST_WAIT_S, wait_s);
}

export class Link {
  /** @param {string} url of the WebSocket @param {Listener} listener */
  constructor(url, listener) {
    this.url = url;
    this.listener = listener;
    this.tries = 0;
    this.refused = 0;
    this.open();
  }

  open() {
    this.names = null;
    this.pings = 0;
    /** @type {Map<number, number>} page time at which a ping was sent */
    this.sent = new Map();
    this.answered_s = -Infinity;
    const socket = new WebSocket(this.url, SUBPROTOCOL);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.opened(socket);
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = (event) => this.closed(event.code);
    this.socket = socket;
    this.greeted = false;
  }

  /** @param {WebSocket} socket */
  opened(socket) {
    if (socket.protocol !== SUBPROTOCOL) {
      this.listener.outdated(`the server speaks ${socket.protocol || 'no known protocol'}`);
    }
    this.start();
  }

  /** @param {string | ArrayBuffer} data */
  receive(data) {
    const received_s = performance.now() / 1000;
    try {
      if (typeof data === 'string') this.receiveText(decodeText(data), received_s);
      else if (this.names) this.receiveBinary(decodeBinary(data, this.names.length));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.refused += 1;
      console.warn(`A message was refused: ${error.message}`);
    }
  }

  /** @param {Hello | import('./protocol.js').Pong} message @param {number} received_s */
  receiveText(message, received_s) {
    if (message.type === 'pong') {
      const sent_s = this.sent.get(message.id);
      this.sent.delete(message.id);
      this.answered_s = received_s;
      if (sent_s !== undefined) this.listener.pong(sent_s, received_s, message.server_s);
      return;
    }
    if (message.protocol !== PROTOCOL) {
      this.listener.outdated(`the server speaks protocol ${message.protocol}`);
      return;
    }
    this.names = message.names;
    this.tries = 0;
    this.greeted = true;
    this.listener.connected(true);
    this.listener.hello(message);
  }

  /** @param {ReturnType<typeof decodeBinary>} message */
  receiveBinary(message) {
    if (message.type === 'frame') this.listener.frame(message);
    else this.listener.sound(message);
  }

  /** Ask for the time, again and again, and tell the statistics. */
  start() {
    const tick = () => {
      if (this.isSilent(performance.now() / 1000)) {
        this.socket.close();
        this.closed(0); // a dead network answers no closing handshake
        return;
      }
      this.ping();
      const bursting = this.pings < BURST;
      if (!bursting && this.greeted) this.tell();
      this.timer = setTimeout(tick, 1000 * (bursting ? BURST_INTERVAL_S : PING_INTERVAL_S));
    };
    tick();
  }

  /**
   * Whether no ping of the last seconds was answered. A hidden page pings once a minute only, so
   * the time since the last answer says nothing.
   * @param {number} page_s
   */
  isSilent(page_s) {
    const waiting = [...this.sent.values()].filter((sent_s) => sent_s > this.answered_s);
    return waiting.length > 0 && page_s - waiting[0] > SILENT_S;
  }

  ping() {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.pings += 1;
    for (const id of this.sent.keys()) if (id < this.pings - BURST) this.sent.delete(id);
    this.sent.set(this.pings, performance.now() / 1000);
    this.socket.send(encodePing(this.pings));
  }

  tell() {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(encodeStatistics(this.listener.statistics()));
  }

  /** @param {number} code */
  closed(code) {
    clearTimeout(this.timer);
    this.socket.onclose = this.socket.onmessage = this.socket.onopen = null;
    this.listener.connected(false);
    if (code === WRONG_PROTOCOL) this.listener.outdated('the server closed with 1002');
    else if (!this.greeted) this.askForPage();
    const wait_s = waitBefore(this.tries, Math.random());
    this.tries += 1;
    setTimeout(() => this.open(), 1000 * wait_s);
  }

  /** A refused handshake tells no reason; a page of another protocol on the server is one. */
  async askForPage() {
    try {
      const answer = await fetch('/', { cache: 'no-store' });
      if (answer.ok && !(await answer.text()).includes(SUBPROTOCOL)) {
        this.listener.outdated('the server has a page of another protocol');
      }
    } catch {
      // The server is away; the next try asks again.
    }
  }
}
