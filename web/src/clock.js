/**
 * The offset between the server's monotonic clock and the page's (`performance.now()`).
 *
 * A ping's answer puts the offset into an interval as wide as its round trip. Of the last 30 s the
 * least round trip counts (as in NTP's clock filter, RFC 5905, section 10). What is shown follows
 * smoothly: at most 1 ms a frame, and in one step only beyond 100 ms.
 */

const WINDOW_S = 30;
const STEP_S = 0.1;
const SLEW_S = 0.001;
const BURST = 8;
// Two quartzes drift apart by at most this share; measured ones stay below a tenth of it.
const DRIFT = 5e-4;
const READING_S = 0.002; // what timers are coarsened by, at both ends

/** @typedef {{at_s: number, offset_s: number, rtt_s: number}} Sample `at_s`: page time */

export class ServerClock {
  constructor() {
    this.reset();
  }

  /** Forget everything: another server may have another clock. */
  reset() {
    /** @type {Sample[]} */
    this.samples = [];
    this.count = 0;
    this.steps = 0;
    this.offset_s = NaN;
    this.first_s = NaN;
  }

  get known() {
    return this.count > 0;
  }

  /**
   * Take in one answer. All in seconds, `sent_s` and `received_s` of the page's clock.
   * @param {number} sent_s
   * @param {number} received_s
   * @param {number} server_s the server's clock when it answered
   */
  addPong(sent_s, received_s, server_s) {
    const rtt_s = received_s - sent_s;
    if (!(rtt_s >= 0)) return;
    const sample = { at_s: received_s, offset_s: server_s - (sent_s + received_s) / 2, rtt_s };
    const agreeing = this.samples.filter((other) => agree(sample, other));
    // Two answers that cannot both be true: a clock was set or a machine slept in between.
    this.samples = agreeing.filter((other) => other.at_s > received_s - WINDOW_S);
    this.samples.push(sample);
    this.count += 1;
    if (this.count <= BURST) this.offset_s = this.first_s = this.target.offset_s;
  }

  /** The sample that counts. @returns {Sample} */
  get target() {
    return this.samples.reduce((best, sample) => (sample.rtt_s < best.rtt_s ? sample : best));
  }

  /** The least round trip of the last 30 s, in seconds. */
  get rtt_s() {
    return this.known ? this.target.rtt_s : NaN;
  }

  /** How far the offset has moved since the connection began, in seconds. */
  get moved_s() {
    return this.offset_s - this.first_s;
  }

  /** Move toward the offset that counts; once before each frame is drawn. */
  advance() {
    if (!this.known) return;
    const error_s = this.target.offset_s - this.offset_s;
    if (Math.abs(error_s) > STEP_S) {
      this.offset_s += error_s;
      this.steps += 1;
    } else {
      this.offset_s += Math.min(SLEW_S, Math.max(-SLEW_S, error_s));
    }
  }

  /** @param {number} page_s @returns {number} the server's time then, NaN while unknown */
  serverTime(page_s) {
    return page_s + this.offset_s;
  }

  /** @param {number} server_s @returns {number} */
  pageTime(server_s) {
    return server_s - this.offset_s;
  }
}

/** Whether two samples leave room for one offset. @param {Sample} a @param {Sample} b */
function agree(a, b) {
  const room_s = (a.rtt_s + b.rtt_s) / 2 + DRIFT * Math.abs(a.at_s - b.at_s) + READING_S;
  return Math.abs(a.offset_s - b.offset_s) <= room_s;
}
