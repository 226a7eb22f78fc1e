/**
 * When pieces of sound are played, and which of them is heard when. Nothing here touches an audio
 * device: context times are seconds of an AudioContext, page times of `performance.now()`.
 */

export const FADE_S = 0.004; // at the beginning and end of a stream, so that nothing clicks
const LEAD_S = 0.02; // no piece can be scheduled nearer than this to now
const MAX_LATE_S = 0.03; // what is later is left out instead of delaying all that follows
const RETIME_S = 0.005; // less deviation than this is left alone
const MAX_RETIME_S = 0.01; // of one quiet piece
const FOLLOW_S = 1; // the times of pieces jitter: what they say is followed this slowly
const KEPT_S = 2;
const QUIET = 64; // of 32768
const STAMP_COUNT = 31; // half a second at 60 Hz
const SLEW_S = 0.001;
const STEP_S = 0.05;

/** @typedef {import('./protocol.js').Sound} Sound */

/**
 * The relation of context time and page time at the loudspeaker, from `getOutputTimestamp()`. Its
 * pairs jitter by the size of the device's buffer, so the median of half a second counts.
 */
export class HeardClock {
  constructor() {
    /** @type {number[]} */
    this.offsets = [];
    this.lastContext_s = NaN;
    this.offset_s = NaN; // page time minus context time
  }

  get known() {
    return !Number.isNaN(this.offset_s);
  }

  /** @param {number} context_s the sample that was heard @param {number} page_s when */
  add(context_s, page_s) {
    if (!(context_s > 0) || context_s === this.lastContext_s) return;
    this.lastContext_s = context_s;
    this.offsets.push(page_s - context_s);
    if (this.offsets.length > STAMP_COUNT) this.offsets.shift();
    const sorted = [...this.offsets].sort((a, b) => a - b);
    const median_s = sorted[sorted.length >> 1];
    const error_s = median_s - this.offset_s;
    const settling = !this.known || this.offsets.length < STAMP_COUNT;
    if (settling || Math.abs(error_s) > STEP_S) this.offset_s = median_s;
    else this.offset_s += Math.min(SLEW_S, Math.max(-SLEW_S, error_s));
  }

  /** @param {number} page_s */
  contextTime(page_s) {
    return page_s - this.offset_s;
  }

  /** @param {number} context_s */
  pageTime(context_s) {
    return context_s + this.offset_s;
  }
}

/**
 * @typedef {object} Placement
 * @property {number} frame the context's sample at which the piece starts
 * @property {number} skip samples left out at the piece's start
 * @property {boolean} joins whether it follows the piece before it without a gap
 */

/**
 * Places pieces of one sample rate, which is also the context's, on its time line. Pieces whose
 * numbers follow each other join to the sample; what the quartzes of server and sound card drift
 * apart is made up for in quiet pieces.
 */
export class SoundSchedule {
  /** @param {number} rate_hz */
  constructor(rate_hz) {
    this.rate_hz = rate_hz;
    this.next = NaN; // running number of the sample that would join
    this.end = 0; // the context's sample after the last one placed
    this.at_s = NaN; // server time of the sample that would join
    /** @type {{start_s: number, end_s: number, at_s: number}[]} context times; server time */
    this.segments = [];
    this.gaps = 0;
    this.late = 0;
  }

  /** The next piece begins a new stream, whatever its number. */
  interrupt() {
    this.next = NaN;
  }

  /**
   * @param {Sound} sound
   * @param {number} now_s context time
   * @param {number} due_s context time at which its first sample is to sound
   * @returns {Placement | null} null for a piece that comes too late to be worth playing
   */
  place(sound, now_s, due_s) {
    const { rate_hz } = this;
    const joins = sound.first === this.next && this.end / rate_hz - FADE_S > now_s + LEAD_S / 2;
    const length_s = sound.samples.length / rate_hz;
    const jitter_s = joins ? (sound.at_s - this.at_s) * (1 - Math.min(1, length_s / FOLLOW_S)) : 0;
    const smooth_s = due_s - jitter_s;
    const placement = joins ? this.join(sound, smooth_s) : this.begin(sound, now_s, smooth_s);
    this.next = placement ? sound.first + sound.samples.length : NaN;
    if (!placement) {
      this.late += 1;
      return null;
    }
    const { frame, skip } = placement;
    const at_s = sound.at_s - jitter_s;
    this.at_s = at_s + length_s;
    this.end = frame + sound.samples.length - skip;
    while (this.segments[0]?.end_s < now_s - KEPT_S) this.segments.shift(); // of a hidden page
    if (!joins) this.segments = this.segments.filter(({ start_s }) => start_s < frame / rate_hz);
    this.segments.push({
      start_s: frame / rate_hz,
      end_s: this.end / rate_hz,
      at_s: at_s + skip / rate_hz,
    });
    return placement;
  }

  /** @param {Sound} sound @param {number} due_s @returns {Placement} */
  join(sound, due_s) {
    const later_s = due_s - this.end / this.rate_hz;
    if (Math.abs(later_s) < RETIME_S || !isQuiet(sound.samples)) {
      return { frame: this.end, skip: 0, joins: true };
    }
    const limited_s = Math.min(MAX_RETIME_S, Math.abs(later_s));
    const shift = Math.min(Math.round(limited_s * this.rate_hz), sound.samples.length - 1);
    return later_s > 0
      ? { frame: this.end + shift, skip: 0, joins: true }
      : { frame: this.end, skip: shift, joins: true };
  }

  /** Place the first piece of a stream; arguments as for `place`. @returns {Placement | null} */
  begin(sound, now_s, due_s) {
    if (!Number.isNaN(this.next)) this.gaps += 1;
    const start_s = Math.max(due_s, now_s + LEAD_S);
    const late_s = start_s - due_s;
    const skip = late_s > MAX_LATE_S ? Math.ceil(late_s * this.rate_hz) : 0;
    if (skip >= sound.samples.length) return null;
    return { frame: Math.ceil(start_s * this.rate_hz), skip, joins: false };
  }

  /**
   * The server time of the sample that is heard at a context time, NaN in silence.
   * @param {number} context_s
   */
  heardTime(context_s) {
    const { segments } = this;
    while (segments.length > 1 && segments[1].start_s <= context_s) segments.shift();
    const [current] = segments;
    if (!current || context_s < current.start_s) return NaN;
    const over_s = context_s - current.end_s;
    if (over_s < 0) return current.at_s + (context_s - current.start_s);
    // Within a pause that was made longer, time stands still.
    const pausing = segments.length > 1 && segments[1].start_s - current.end_s < 2 * MAX_RETIME_S;
    return pausing ? current.at_s + (current.end_s - current.start_s) : NaN;
  }
}

/** @param {Int16Array} samples */
function isQuiet(samples) {
  return samples.every((sample) => Math.abs(sample) < QUIET);
}
