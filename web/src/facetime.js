/**
 * The time that the face depicts: what is heard while the page's own sound plays, else the
 * server's clock; plus `display_ms`, which the screen takes to show a picture.
 */

const SLEW_S = 0.001;
const STEP_S = 0.1;

/** @typedef {import('./clock.js').ServerClock} ServerClock */
/** @typedef {{heardTime(page_s: number): number}} Heard */

export class FaceTime {
  /** @param {ServerClock} clock @param {Heard | null} sound @param {number} display_s */
  constructor(clock, sound, display_s) {
    this.clock = clock;
    this.sound = sound;
    this.display_s = display_s;
    this.shift_s = 0; // heard time minus server time
    this.playing = false;
  }

  /**
   * The server time to depict; once for each frame. While there is no server's clock yet, the
   * page's own, for blinks.
   * @param {number} page_s
   */
  at(page_s) {
    if (!this.clock.known) return page_s;
    const server_s = this.clock.serverTime(page_s);
    const heard_s = this.sound ? this.sound.heardTime(page_s) : NaN;
    const playing = !Number.isNaN(heard_s);
    const error_s = (playing ? heard_s - server_s : 0) - this.shift_s;
    // At the start of speech the mouth is still, so the step is not seen.
    if ((playing && !this.playing) || Math.abs(error_s) > STEP_S) this.shift_s += error_s;
    else this.shift_s += Math.min(SLEW_S, Math.max(-SLEW_S, error_s));
    this.playing = playing;
    return server_s + this.shift_s + this.display_s;
  }
}
