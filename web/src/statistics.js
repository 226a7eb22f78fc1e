/**
 * What the page measures of itself, as it is told to the server once a second.
 */

const WINDOW_S = 1;

export class Statistics {
  constructor() {
    this.late = 0;
    this.shown = 0;
    this.lastShown_s = -Infinity;
    /** @type {{page_s: number, delay_s: number}[]} first drawings of frames in the last second */
    this.delays = [];
    /** @type {number[]} page times of drawings in the last second */
    this.drawings = [];
  }

  /** A new server may count time otherwise. */
  reset() {
    this.lastShown_s = -Infinity;
  }

  /**
   * @param {number} at_s when the frame was to be shown
   * @param {number} server_s when it came; NaN: the clock is not known yet
   */
  addArrival(at_s, server_s) {
    if (server_s > at_s) this.late += 1;
  }

  /**
   * A picture was drawn.
   * @param {number} page_s
   * @param {{before?: {at_s: number}}} around the ring's frames at the time depicted
   * @param {number} server_s the server's time at the drawing
   */
  addDrawing(page_s, { before }, server_s) {
    this.drawings.push(page_s);
    if (before && before.at_s > this.lastShown_s) {
      this.lastShown_s = before.at_s;
      this.shown += 1;
      this.delays.push({ page_s, delay_s: server_s - before.at_s });
    }
    while (this.drawings[0] < page_s - WINDOW_S) this.drawings.shift();
    while (this.delays.length && this.delays[0].page_s < page_s - WINDOW_S) this.delays.shift();
  }

  /**
   * Mean and standard deviation, in milliseconds, of the time from a frame's show-at to its first
   * drawing; pictures per second.
   */
  summary() {
    const delays = this.delays.map(({ delay_s }) => delay_s * 1000);
    const mean = delays.reduce((sum, delay) => sum + delay, 0) / (delays.length || 1);
    const square = delays.reduce((sum, delay) => sum + (delay - mean) ** 2, 0);
    const { drawings } = this;
    const span_s = drawings[drawings.length - 1] - drawings[0];
    return {
      delay_ms: mean,
      jitter_ms: Math.sqrt(square / (delays.length || 1)),
      late: this.late,
      shown: this.shown,
      fps: span_s > 0 ? (drawings.length - 1) / span_s : 0,
    };
  }
}
