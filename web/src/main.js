/**
 * The page: what comes over the link is drawn at its time.
 */

import { ServerClock } from './clock.js';
import { Face2D } from './face2d.js';
import { Face3D } from './face3d.js';
import { FaceTime } from './facetime.js';
import { Link } from './link.js';
import { readOptions } from './options.js';
import { Overlay } from './overlay.js';
import { reloadPage } from './reload.js';
import { Rest } from './rest.js';
import { FrameRing } from './ring.js';
import { fillScreenOnDoubleTap, hidePointer, keepAwake } from './screen.js';
import { SoundPlayer } from './sound.js';
import { Statistics } from './statistics.js';

const SCREEN_RATIO_LIMIT = 2;
const EARLY_S = 0.002; // a screen's refresh may come so much before the time it is due

/** @typedef {import('./protocol.js').Hello} Hello */

class Page {
  /** @param {import('./options.js').Options} options */
  constructor(options) {
    this.options = options;
    this.canvas = document.getElementById('face');
    this.overlay = new Overlay(document.getElementById('overlay'), () => this.statistics());
    this.clock = new ServerClock();
    this.ring = new FrameRing();
    this.measured = new Statistics();
    this.sound = options.audio ? new SoundPlayer(showHint) : null;
    this.time = new FaceTime(this.clock, this.sound, options.display_s);
    this.due_s = 0;
    /** Called right after a picture was drawn, in the same task. @type {Function | null} */
    this.onDraw = null;
    this.face = this.openFace();
    new ResizeObserver(() => this.resize()).observe(document.documentElement);
    this.resize();
  }

  openFace() {
    if (this.options.face === '2d') return new Face2D(this.canvas);
    try {
      return new Face3D(this.canvas, this.options);
    } catch (error) {
      return this.fallBack(`no WebGL (${error.message})`);
    }
  }

  /** Draw the 2D face instead, and say why. @param {string} why */
  fallBack(why) {
    console.warn(`The 2D face is shown: ${why}`);
    this.overlay.note('2D face', why);
    const canvas = this.canvas.cloneNode(); // the old one is bound to WebGL
    this.canvas.replaceWith(canvas);
    this.canvas = canvas;
    return new Face2D(canvas);
  }

  resize() {
    const { clientWidth, clientHeight } = document.documentElement;
    const ratio = this.options.pixelRatio || Math.min(devicePixelRatio, SCREEN_RATIO_LIMIT);
    if (clientWidth && clientHeight) this.face.resize(clientWidth, clientHeight, ratio);
  }

  /** @param {Hello} hello */
  hello(hello) {
    const identity = JSON.stringify([hello.names, hello.rig.sha256, hello.rig.shapes]);
    if (this.identity && this.identity !== identity) {
      reloadPage('the server has another rig');
      return;
    }
    this.clock.reset();
    this.ring.clear();
    this.measured.reset();
    this.sound?.interrupt();
    if (this.identity) return;
    this.identity = identity;
    this.weights = new Float32Array(hello.names.length);
    this.rest = new Rest(hello.names);
    this.load(hello);
  }

  /** @param {Hello} hello */
  async load(hello) {
    try {
      await this.face.load(hello);
    } catch (error) {
      this.face = this.fallBack(`the rig cannot be shown (${error.message})`);
      this.resize();
      await this.face.load(hello);
    }
    this.loaded = true;
  }

  /** @param {import('./protocol.js').Frame} frame */
  frame(frame) {
    const isNew = this.ring.add(frame);
    if (isNew) this.measured.addArrival(frame.at_s, this.clock.serverTime(now()));
  }

  /** @param {import('./protocol.js').Sound} sound */
  play(sound) {
    if (this.sound && this.clock.known) this.sound.push(sound, this.clock.pageTime(sound.at_s));
  }

  /** One picture; called at each refresh of the screen. */
  tick() {
    requestAnimationFrame(() => this.tick());
    const page_s = now();
    const { fps } = this.options;
    if (fps) {
      if (page_s < this.due_s - EARLY_S) return;
      this.due_s = Math.max(this.due_s + 1 / fps, page_s);
    }
    this.clock.advance();
    this.sound?.advance();
    if (this.loaded) this.draw(page_s);
  }

  /** @param {number} page_s */
  draw(page_s) {
    const face_s = this.time.at(page_s);
    const missing_s = this.ring.sample(face_s, this.weights);
    this.rest.apply(this.weights, missing_s, face_s);
    this.face.draw(this.weights);
    this.measured.addDrawing(page_s, this.ring.around(face_s), this.clock.serverTime(page_s));
    this.onDraw?.({ now_s: page_s, face_s, weights: this.weights });
  }

  statistics() {
    return {
      ...this.measured.summary(),
      dropped: this.ring.missing + this.ring.discarded,
      starved: this.rest?.times ?? 0,
      offset_ms: this.clock.moved_s * 1000,
      rtt_ms: this.clock.rtt_s * 1000,
      sound_ms: this.time.playing ? -this.time.shift_s * 1000 : 0,
    };
  }
}

function now() {
  return performance.now() / 1000;
}

/** @param {boolean} suspended the browser waits for a tap before it plays sound */
function showHint(suspended) {
  document.getElementById('hint').hidden = !suspended;
}

/** Background and theme: as the address says, else as the system likes it. @param {Page} page */
function followColors(page) {
  const { background, theme } = page.options;
  const light = matchMedia('(prefers-color-scheme: light)');
  const apply = () => {
    const { dataset } = document.documentElement;
    dataset.background = background || (light.matches ? 'light' : 'dark');
    dataset.theme = theme || (dataset.background === 'light' ? 'day' : 'night');
    page.face.readColors?.();
  };
  light.addEventListener('change', apply);
  apply();
}

function start() {
  const problems = [];
  const options = readOptions(location.search, (problem) => problems.push(problem));
  const page = new Page(options);
  followColors(page);
  for (const problem of problems) {
    console.warn(`In the address: ${problem}`);
    page.overlay.note('address', problem);
  }
  keepAwake();
  hidePointer();
  fillScreenOnDoubleTap();
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const link = new Link(`${scheme}//${location.host}/live${options.audio ? '?audio=1' : ''}`, {
    hello: (hello) => page.hello(hello),
    frame: (frame) => page.frame(frame),
    sound: (sound) => page.play(sound),
    pong: (...times) => page.clock.addPong(...times),
    statistics: () => page.statistics(),
    connected: (connected) => page.overlay.note('server', connected ? '' : 'not connected'),
    outdated: reloadPage,
  });
  window.dualtalkerFace = {
    statistics: () => ({ ...page.statistics(), refused: link.refused }),
    sound: page.sound,
    get canvas() {
      return page.canvas;
    },
    get onDraw() {
      return page.onDraw;
    },
    set onDraw(callback) {
      page.onDraw = callback;
    },
  };
  page.tick();
}

start();
