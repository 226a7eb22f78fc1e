/**
 * The page as loudspeaker (`?audio=1`): pieces of PCM become buffers that start at exact context
 * times. The context runs at the stream's own rate, so that pieces join to the sample and the
 * browser resamples their sum, not each of them.
 */

import { FADE_S, HeardClock, SoundSchedule } from './schedule.js';

const SILENT_DEVICE_S = 1;
const LONGEST_WAIT_S = 0.3; // past its time a piece is no longer worth playing

/** @typedef {import('./protocol.js').Sound} Sound */

export class SoundPlayer {
  /** @param {(suspended: boolean) => void} onSuspended whether a tap is needed, when it changes */
  constructor(onSuspended) {
    this.onSuspended = onSuspended;
    this.open(undefined);
    const wake = () => this.context.resume();
    for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, wake);
  }

  /** @param {number | undefined} rate_hz of the context; undefined: the device's own */
  open(rate_hz) {
    this.context?.close();
    this.context = new AudioContext({ latencyHint: 'interactive', sampleRate: rate_hz });
    this.context.onstatechange = () => this.tellState();
    this.clock = new HeardClock();
    this.schedule = new SoundSchedule(this.context.sampleRate);
    this.gain = null;
    /** @type {{sound: Sound, due_s: number}[]} pieces that came before the device's time */
    this.waiting = [];
    // An autoplay policy shows itself only after a moment.
    setTimeout(() => this.tellState(), 500);
  }

  tellState() {
    this.onSuspended(this.context.state !== 'running');
  }

  get running() {
    return this.context.state === 'running';
  }

  /** The next piece begins a new stream, as after a new connection. */
  interrupt() {
    this.schedule.interrupt();
  }

  /** Read the device's clock and play what waits for it; once before each frame is drawn. */
  advance() {
    if (!this.running) return;
    this.clock.add(...this.readDevice());
    if (!this.clock.known) return;
    for (const { sound, due_s } of this.waiting) this.place(sound, due_s);
    this.waiting = [];
  }

  /** Which sample was heard at which page time. @returns {[number, number]} */
  readDevice() {
    const { contextTime, performanceTime } = this.context.getOutputTimestamp();
    const { currentTime, baseLatency, outputLatency } = this.context;
    if (contextTime > 0 || currentTime < SILENT_DEVICE_S) {
      return [contextTime, performanceTime / 1000];
    }
    // Some devices never tell; then the latencies that the browser knows must do.
    return [currentTime - (baseLatency || 0) - (outputLatency || 0), performance.now() / 1000];
  }

  /**
   * Play a piece, as soon as the device runs and has told its time.
   * @param {Sound} sound
   * @param {number} due_s page time at which its first sample is to be heard
   */
  push(sound, due_s) {
    if (sound.rate_hz !== this.context.sampleRate) this.open(sound.rate_hz);
    const recent_s = performance.now() / 1000 - LONGEST_WAIT_S;
    this.waiting = this.waiting.filter((piece) => piece.due_s > recent_s);
    this.waiting.push({ sound, due_s });
    this.advance();
  }

  /** @param {Sound} sound @param {number} due_s page time */
  place(sound, due_s) {
    const { context, schedule } = this;
    const end_s = schedule.end / context.sampleRate;
    const placement = schedule.place(sound, context.currentTime, this.clock.contextTime(due_s));
    if (!placement) return;
    const start_s = placement.frame / context.sampleRate;
    if (!placement.joins) this.begin(start_s, end_s);
    this.startSource(sound.samples.subarray(placement.skip), start_s);
    const gain = this.gain.gain;
    if (placement.joins) gain.cancelScheduledValues(end_s - 1.5 * FADE_S);
    fadeOut(gain, schedule.end / context.sampleRate);
  }

  /** Begin a stream: it fades in, and what is left of the one before fades out. */
  begin(start_s, previousEnd_s) {
    if (this.gain && previousEnd_s > start_s) {
      this.gain.gain.cancelScheduledValues(start_s);
      fadeOut(this.gain.gain, start_s + FADE_S);
    }
    this.gain = new GainNode(this.context, { gain: 0 });
    this.gain.connect(this.context.destination);
    this.gain.gain.setValueAtTime(0, start_s);
    this.gain.gain.linearRampToValueAtTime(1, start_s + FADE_S);
  }

  /** @param {Int16Array} samples @param {number} start_s context time */
  startSource(samples, start_s) {
    const { context } = this;
    const buffer = new AudioBuffer({
      length: samples.length,
      numberOfChannels: 1,
      sampleRate: context.sampleRate,
    });
    buffer.copyToChannel(
      Float32Array.from(samples, (sample) => sample / 32768),
      0,
    );
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(this.gain);
    source.start(start_s);
  }

  /**
   * The server time of what is heard at a page time; NaN while nothing plays.
   * @param {number} page_s
   */
  heardTime(page_s) {
    if (!this.running || !this.clock.known) return NaN;
    return this.schedule.heardTime(this.clock.contextTime(page_s));
  }
}

/** @param {AudioParam} gain @param {number} end_s context time */
function fadeOut(gain, end_s) {
  gain.setValueAtTime(1, end_s - FADE_S);
  gain.linearRampToValueAtTime(0, end_s);
}
