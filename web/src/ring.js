/**
 * The last and next 2 s of frames, in the order in which they are shown.
 */

const SPAN_S = 2;
const SAME_S = 1e-4; // two frames this near to each other are one
const BLEND_S = 0.1; // over a gap, the way to the next frame takes this long

/** @typedef {import('./protocol.js').Frame} Frame */

export class FrameRing {
  constructor() {
    /** @type {Frame[]} sorted by `at_s` */
    this.frames = [];
    this.missing = 0; // numbers that did not come
    this.duplicates = 0;
    this.discarded = 0; // thrown away before their time
    this.highestIndex = -1;
    this.sampled_s = -Infinity;
  }

  /** Forget the frames, as after a new hello; the counts go on. */
  clear() {
    this.frames = [];
    this.highestIndex = -1;
  }

  /**
   * Put a frame into its place. A second one for the same time is refused.
   * @param {Frame} frame
   * @returns {boolean} whether it was new
   */
  add(frame) {
    const { frames } = this;
    let place = frames.length;
    while (place > 0 && frames[place - 1].at_s > frame.at_s - SAME_S) place -= 1;
    if (place < frames.length && frames[place].at_s < frame.at_s + SAME_S) {
      this.duplicates += 1;
      return false;
    }
    this.count(frame.index);
    frames.splice(place, 0, frame);
    const newest_s = frames[frames.length - 1].at_s;
    while (frames[0].at_s < newest_s - SPAN_S) {
      if (frames.shift().at_s > this.sampled_s) this.discarded += 1;
    }
    return true;
  }

  /** Count the numbers that are missing; one that comes late fills its gap. */
  count(index) {
    const ahead = index - this.highestIndex;
    if (this.highestIndex < 0 || Math.abs(ahead) > 1000) {
      this.highestIndex = index; // the first, or another stream
    } else if (ahead > 0) {
      this.missing += ahead - 1;
      this.highestIndex = index;
    } else {
      this.missing = Math.max(0, this.missing - 1);
    }
  }

  /** The last frame due at time t, and the one after it. @param {number} t_s server time */
  around(t_s) {
    const { frames } = this;
    let place = frames.length;
    while (place > 0 && frames[place - 1].at_s > t_s) place -= 1;
    return { before: frames[place - 1], after: frames[place] };
  }

  /**
   * The weights at a time: linear between neighbors. Over a gap the earlier frame stands still
   * until 100 ms before the next one; after the last frame it stands.
   * @param {number} t_s server time
   * @param {Float32Array} out written to
   * @returns {number} seconds for which there has been nothing to show; Infinity without a frame
   */
  sample(t_s, out) {
    const { before, after } = this.around(t_s);
    this.sampled_s = t_s;
    if (!before || !after) {
      const held = before ?? after;
      if (!held) return Infinity;
      out.set(held.weights);
      return before ? t_s - before.at_s : Math.max(0, held.at_s - t_s - BLEND_S);
    }
    const start_s = Math.max(before.at_s, after.at_s - BLEND_S);
    const share = Math.max(0, (t_s - start_s) / (after.at_s - start_s));
    for (let i = 0; i < out.length; i += 1) {
      out[i] = before.weights[i] + share * (after.weights[i] - before.weights[i]);
    }
    return t_s < start_s ? t_s - before.at_s : 0;
  }
}
