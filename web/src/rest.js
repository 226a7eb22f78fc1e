/**
 * What the face does while no frames come: the mouth comes to rest, blinks go on.
 */

const STARVED_S = 0.1;
const TO_REST_S = 0.2;
const BACK_S = 0.15;
const SLOT_S = 3.7; // one blink in each
const DOUBLE_S = 0.32; // from one blink to the second of a pair
const CLOSING_S = 0.07;
const CLOSED_S = 0.04;
const OPENING_S = 0.15;

export class Rest {
  /** @param {string[]} names of the weights */
  constructor(names) {
    this.blinks = ['eyeBlinkLeft', 'eyeBlinkRight'].map((name) => names.indexOf(name));
    this.share = 0; // how much of the picture is the resting face
    this.last_s = NaN;
    this.starved = false;
    this.times = 0; // starved so often
  }

  /**
   * Lead the weights to rest as long as the stream is starved, and back.
   * @param {Float32Array} weights changed in place
   * @param {number} missing_s seconds for which there has been nothing to show
   * @param {number} t_s the time depicted
   */
  apply(weights, missing_s, t_s) {
    const starved = missing_s > STARVED_S;
    if (starved && !this.starved && missing_s !== Infinity) this.times += 1;
    this.starved = starved;
    const first = Number.isNaN(this.last_s);
    const passed_s = first ? 0 : Math.min(1, Math.max(0, t_s - this.last_s));
    this.last_s = t_s;
    if (missing_s === Infinity) {
      this.share = 1; // nothing to come from
    } else if (starved) {
      this.share = Math.min(1, this.share + passed_s / TO_REST_S);
    } else {
      this.share = Math.max(0, this.share - passed_s / BACK_S);
    }
    if (this.share > 0) this.mix(weights, t_s);
  }

  /** @param {Float32Array} weights @param {number} t_s */
  mix(weights, t_s) {
    const share = this.share * this.share * (3 - 2 * this.share);
    for (let i = 0; i < weights.length; i += 1) weights[i] *= 1 - share;
    for (const index of this.blinks) {
      if (index >= 0) weights[index] += share * blinkAt(t_s);
    }
  }
}

/**
 * How far the eyes are shut at a time, 0 to 1. It is drawn from the time alone, so that all
 * screens of one server blink together.
 * @param {number} t_s server time
 */
export function blinkAt(t_s) {
  const slot = Math.floor(t_s / SLOT_S);
  const into_s = t_s - slot * SLOT_S;
  const start_s = 0.4 + 2.4 * chance(slot, 1);
  const first = lid(into_s - start_s);
  if (chance(slot, 2) > 0.15) return first;
  return Math.max(first, lid(into_s - start_s - DOUBLE_S));
}

/** One blink, `since_s` after its beginning: it shuts faster than it opens. */
function lid(since_s) {
  if (since_s < 0) return 0;
  if (since_s < CLOSING_S) return ease(since_s / CLOSING_S);
  return 1 - ease(Math.min(1, Math.max(0, since_s - CLOSING_S - CLOSED_S) / OPENING_S));
}

/** @param {number} x 0 to 1 */
function ease(x) {
  return x * x * (3 - 2 * x);
}

/** A number in [0, 1) that depends on slot and purpose alone (hash of T. Wang and T. Mueller). */
function chance(slot, purpose) {
  let x = (slot * 2 + purpose) | 0;
  x = Math.imul((x >>> 16) ^ x, 0x45d9f3b);
  x = Math.imul((x >>> 16) ^ x, 0x45d9f3b);
  return (((x >>> 16) ^ x) >>> 0) / 2 ** 32;
}
