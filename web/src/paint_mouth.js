/**
 * The mouth of the 2D face: lips, teeth and tongue. Units as in features.js.
 */

const MOUTH_Y = 74;
const SCALE = 1.1;
const TEETH = { half: 54, upper: 15, lower: 12 };
const REST_GAP = 28; // the lower teeth stay hidden until the jaw has come down so far

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {import('./features.js').Mouth} Mouth */

/** @param {Context} c @param {Record<string, string>} colors @param {Mouth} mouth */
export function paintMouth(c, colors, mouth) {
  c.save();
  c.translate(0, MOUTH_Y);
  c.scale(SCALE, SCALE);
  traceOuter(c, mouth);
  c.fillStyle = c.strokeStyle = colors.lip;
  c.fill();
  c.lineWidth = 4; // rounds the corners
  c.stroke();
  c.save();
  traceInner(c, mouth);
  c.fillStyle = colors.mouth;
  c.fill();
  c.clip();
  paintInside(c, colors, mouth);
  c.restore();
  traceInner(c, mouth);
  c.strokeStyle = colors.line;
  c.lineWidth = 3;
  c.stroke();
  if (mouth.tongue > 0.05) paintTongueOut(c, colors, mouth);
  c.restore();
}

/** The opening: from the left corner over the upper lip to the right, and back. */
function traceInner(c, m) {
  const [left, right] = m.corners.map(({ x, y }) => ({ x: m.middle + 0.96 * (x - m.middle), y }));
  c.beginPath();
  c.moveTo(left.x, left.y);
  traceHalf(c, left, { x: m.middle, y: m.upper }, m.round, -m.slant / 2, false);
  traceHalf(c, right, { x: m.middle, y: m.upper }, m.round, m.slant / 2, true);
  traceHalf(c, right, { x: m.middle, y: m.lower }, m.round, m.sag / 2, false);
  traceHalf(c, left, { x: m.middle, y: m.lower }, m.round, -m.sag / 2, true);
  c.closePath();
}

/** The lips' outer edge, with the bow of the upper lip. @param {Context} c */
function traceOuter(c, m) {
  const around = 3 + 0.45 * Math.min(m.upperLip, m.lowerLip) * m.round;
  const left = { x: m.corners[0].x - around - 2, y: m.corners[0].y };
  const right = { x: m.corners[1].x + around + 2, y: m.corners[1].y };
  const top = m.upper - m.upperLip;
  const bottom = m.lower + m.lowerLip;
  const bow = 2.5 * (1 - m.round);
  const round = Math.min(1, m.round + 0.25);
  c.beginPath();
  c.moveTo(left.x, left.y);
  traceHalf(c, left, { x: m.middle, y: top + bow }, round, -m.slant / 2 - bow, false);
  traceHalf(c, right, { x: m.middle, y: top + bow }, round, m.slant / 2 - bow, true);
  traceHalf(c, right, { x: m.middle, y: bottom }, round, m.sag / 2, false);
  traceHalf(c, left, { x: m.middle, y: bottom }, round, -m.sag / 2, true);
  c.closePath();
}

/**
 * Half of a lip's edge, from a corner to the middle, or back.
 * @param {Context} c
 * @param {number} round 0: leaves the corner flat, 1: steep
 * @param {number} lower how much lower this side's half lies
 * @param {boolean} back from the middle to the corner
 */
function traceHalf(c, corner, middle, round, lower, back) {
  const width = corner.x - middle.x;
  const height = middle.y - corner.y;
  const near = [
    corner.x - width * 0.32 * (1 - round),
    corner.y + height * (0.3 + 0.32 * round) + 0.4 * lower,
  ];
  const far = [middle.x + width * 0.55, middle.y + lower];
  if (back) c.bezierCurveTo(...far, ...near, corner.x, corner.y);
  else c.bezierCurveTo(...near, ...far, middle.x, middle.y);
}

/** Tongue and teeth, within the opening. @param {Context} c */
function paintInside(c, colors, m) {
  const x = m.jawX;
  const floor = Math.max(m.jaw, m.lower - 6);
  c.beginPath();
  c.ellipse(x, floor + 8 - 6 * m.tongue, 40, 22, 0, 0, 2 * Math.PI);
  c.fillStyle = colors.tongue;
  c.fill();
  c.fillStyle = colors.teeth;
  const behind = 9 * Math.max(0, m.round - 0.4); // lips put forward hide the teeth
  bar(c, m.middle * 0.4, Math.min(m.upper, -2) - 6 - behind, TEETH.half, TEETH.upper + 6);
  const lower = m.jaw + 4 + behind - TEETH.lower + Math.max(0, REST_GAP - m.jaw) * 0.5;
  bar(c, x, lower, 0.82 * TEETH.half, TEETH.lower + 14);
}

/** A bar with round corners. @param {Context} c */
function bar(c, x, y, half, height) {
  c.beginPath();
  c.roundRect(x - half, y, 2 * half, height, 7);
  c.fill();
}

/** @param {Context} c */
function paintTongueOut(c, colors, m) {
  const out = m.tongue * 30;
  const half = Math.min(26, 0.42 * (m.corners[1].x - m.corners[0].x));
  const top = m.upper + 4;
  c.beginPath();
  c.roundRect(m.middle - half, top, 2 * half, Math.max(10, m.lower - top + out), half);
  c.fillStyle = colors.tongue;
  c.fill();
  c.beginPath();
  c.moveTo(m.middle, top + 8);
  c.lineTo(m.middle, Math.max(top + 10, m.lower + out * 0.4));
  c.strokeStyle = colors.line;
  c.lineWidth = 2.5;
  c.stroke();
}
