/**
 * Eyes, brows and cheeks of the 2D face. Units and sides as in features.js.
 */

const EYE = { x: 104, y: -42, rx: 52, ry: 60 };
const GAZE = { x: 19, y: 17 };
const IRIS = 31;
const BOXY = 0.9; // how far out a lid's edge bends toward its ends
const BROW = { x: 104, y: -121, half: 43 };

/** @typedef {CanvasRenderingContext2D} Context */

/**
 * @param {Context} c
 * @param {Record<string, string>} colors
 * @param {import('./features.js').Eye} eye
 */
export function paintEye(c, colors, eye) {
  c.save();
  c.translate(eye.side * EYE.x, EYE.y);
  c.beginPath();
  c.ellipse(0, 0, EYE.rx, EYE.ry, 0, 0, 2 * Math.PI);
  c.fillStyle = colors.lid;
  c.fill();
  c.save();
  c.clip();
  traceOpening(c, eye);
  c.save();
  c.clip();
  c.fillStyle = colors.sclera;
  c.fillRect(-EYE.rx, -EYE.ry, 2 * EYE.rx, 2 * EYE.ry);
  paintIris(c, colors, eye);
  c.restore();
  c.restore();
  paintLash(c, colors, eye);
  c.restore();
}

/** Height of a lid's edge at its middle and at its ends, inner end first. */
function lidEdges({ upper, lower, frown, side }) {
  const slant = 16 * frown;
  const [left, right] = side > 0 ? [slant, -0.4 * slant] : [-0.4 * slant, slant];
  const top = -upper * EYE.ry;
  const bottom = -lower * EYE.ry;
  const room = Math.max(0, bottom - top);
  // Ends of an open eye lie on the rim; those of a shut one make a curve like a smile's reverse.
  const end = 0.5 * (top + bottom) - Math.min(14, 0.1 * room) - 8;
  return { top, bottom, end, left, right };
}

/** The opening between the lids as a path. @param {Context} c */
function traceOpening(c, eye) {
  const { top, bottom, end, left, right } = lidEdges(eye);
  const x = EYE.rx + 6;
  const low = curve(bottom, end);
  traceLid(c, x, top, end, left, right);
  c.bezierCurveTo(BOXY * x, low, -BOXY * x, low, -x, end + left);
  c.closePath();
}

/** The edge of the upper lid as a path. @param {Context} c */
function traceLid(c, x, top, end, left, right) {
  const high = curve(top, end);
  c.beginPath();
  c.moveTo(-x, end + left);
  c.bezierCurveTo(-BOXY * x, high + left, BOXY * x, high + right, x, end + right);
}

/** Height of the control points with which a curve from end to end passes through `middle`. */
function curve(middle, end) {
  return (middle - 0.25 * end) / 0.75;
}

/** @param {Context} c */
function paintIris(c, colors, { gazeX, gazeY }) {
  const x = GAZE.x * gazeX;
  const y = 3 + GAZE.y * gazeY;
  disc(c, colors.iris, x, y, IRIS);
  disc(c, colors.pupil, x, y, 0.58 * IRIS);
  disc(c, colors.glint, x + 10, y - 12, 8.5);
  disc(c, colors.glint, x - 9, y + 12, 3.5);
}

/** The upper lid's edge; when the eye is shut, all there is to see of it. @param {Context} c */
function paintLash(c, colors, eye) {
  const { top, end, left, right } = lidEdges(eye);
  const x = EYE.rx - 1;
  c.save();
  c.beginPath();
  c.ellipse(0, 0, EYE.rx + 3, EYE.ry + 3, 0, 0, 2 * Math.PI);
  c.clip();
  traceLid(c, x, top, end, left, right);
  c.strokeStyle = colors.lash;
  c.lineWidth = 7;
  c.stroke();
  c.restore();
}

/** @param {Context} c @param {import('./features.js').Brow} brow */
export function paintBrow(c, colors, { side, inner, middle, outer, inward }) {
  const x = BROW.x - inward;
  c.beginPath();
  c.moveTo(side * (x - BROW.half), BROW.y + 4 - inner);
  c.quadraticCurveTo(
    side * x,
    BROW.y - 13 - 2 * middle + 0.5 * (inner + outer),
    side * (x + BROW.half),
    BROW.y + 8 - outer,
  );
  c.strokeStyle = colors.brow;
  c.lineWidth = 12;
  c.stroke();
}

/** @param {Context} c @param {{lift: number, puff: number, sneer: number}} cheek */
export function paintCheek(c, colors, { lift, puff, sneer }, side) {
  const size = 1 + 0.5 * puff;
  c.beginPath();
  c.ellipse(side * 168, 50 - 10 * lift - 6 * sneer, 27 * size, 16 * size, 0, 0, 2 * Math.PI);
  c.fillStyle = colors.cheek;
  c.fill();
}

/** @param {Context} c */
function disc(c, color, x, y, radius) {
  c.beginPath();
  c.arc(x, y, radius, 0, 2 * Math.PI);
  c.fillStyle = color;
  c.fill();
}
