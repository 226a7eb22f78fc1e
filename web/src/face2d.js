/**
 * The face in two dimensions, for small computers and small screens: curves on a canvas.
 */

import { featureReader } from './features.js';
import { paintBrow, paintCheek, paintEye } from './paint_eyes.js';
import { paintMouth } from './paint_mouth.js';

const WIDTH = 480;
const HEIGHT = 320;
const TURN = 70; // units that a head turned by one radian shifts the face
const COLORS = [
  'background',
  'sclera',
  'iris',
  'pupil',
  'glint',
  'lid',
  'lash',
  'brow',
  'lip',
  'line',
  'mouth',
  'teeth',
  'tongue',
  'cheek',
];

export class Face2D {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    this.readColors();
  }

  /** The theme's colors are CSS variables, `--face-iris` and so on. */
  readColors() {
    const style = getComputedStyle(document.documentElement);
    this.colors = Object.fromEntries(
      COLORS.map((name) => [name, style.getPropertyValue(`--face-${name}`).trim()]),
    );
  }

  /** @param {import('./protocol.js').Hello} hello */
  async load({ names }) {
    this.read = featureReader(names);
  }

  /** @param {number} width CSS pixels @param {number} height @param {number} ratio */
  resize(width, height, ratio) {
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  /** @param {Float32Array} weights in the order of the hello's names */
  draw(weights) {
    const { context: c, canvas, colors } = this;
    const { eyes, brows, cheeks, mouth, head } = this.read(weights);
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.fillStyle = colors.background;
    c.fillRect(0, 0, canvas.width, canvas.height);
    const scale = Math.min(canvas.width / WIDTH, canvas.height / HEIGHT);
    c.translate(canvas.width / 2, canvas.height / 2);
    c.scale(scale, scale);
    c.rotate(-head.roll); // to the face's own right, which is the viewer's left
    c.translate(TURN * head.yaw, TURN * head.pitch);
    c.lineCap = c.lineJoin = 'round';
    cheeks.forEach((cheek, i) => paintCheek(c, colors, cheek, i ? 1 : -1));
    for (const eye of eyes) paintEye(c, colors, eye);
    for (const brow of brows) paintBrow(c, colors, brow);
    paintMouth(c, colors, mouth);
  }
}
