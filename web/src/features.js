/**
 * What the 52 weights mean for a face of curves: lids, gaze, brows and lips as few numbers.
 *
 * Units: the face is drawn on a field of 480 x 320 whose middle is (0, 0), x to the viewer's
 * right (the face's own left), y down. A side is 1 for the face's left, -1 for its right.
 */

const MOUTH_HALF_WIDTH = 74;
const JAW_DROP = 66;

/**
 * @typedef {object} Eye
 * @property {number} side
 * @property {number} upper height of the upper lid's edge: 1 top of the eye, -1 bottom
 * @property {number} lower the same of the lower lid
 * @property {number} gazeX 1: as far to the viewer's right as an eye looks
 * @property {number} gazeY 1: as far down
 * @property {number} frown 0 to 1: the upper lid slants inward
 *
 * @typedef {object} Brow
 * @property {number} side
 * @property {number} inner lift of the inner end, units
 * @property {number} middle
 * @property {number} outer
 * @property {number} inward shift toward the nose, units
 *
 * @typedef {object} Mouth
 * @property {{x: number, y: number}[]} corners the viewer's left and right one
 * @property {number} middle x of both lips' middle
 * @property {number} upper y of the upper lip's inner edge at the middle
 * @property {number} lower the same of the lower lip
 * @property {number} upperLip thickness of the upper lip
 * @property {number} lowerLip
 * @property {number} round 0: pointed corners, 1: an O
 * @property {number} slant difference of the upper lip's height, viewer's right minus left
 * @property {number} sag the same of the lower lip
 * @property {number} jaw how far the lower teeth have come down
 * @property {number} jawX
 * @property {number} tongue 0 to 1: put out
 * @property {number} tuck 0 to 1: the lower lip is under the upper teeth
 */

/**
 * A function that tells features from weights.
 * @param {string[]} names
 */
export function featureReader(names) {
  const places = new Map(names.map((name, index) => [name, index]));
  return (weights) => {
    const w = (name) => weights[places.get(name)] ?? 0;
    return {
      eyes: [readEye(w, 'Right', -1), readEye(w, 'Left', 1)],
      brows: [readBrow(w, 'Right', -1), readBrow(w, 'Left', 1)],
      mouth: readMouth(w),
      cheeks: ['Right', 'Left'].map((side) => ({
        lift: w(`cheekSquint${side}`) + 0.6 * w(`mouthSmile${side}`),
        puff: w('cheekPuff'),
        sneer: w(`noseSneer${side}`),
      })),
      head: { pitch: w('headPitch'), yaw: w('headYaw'), roll: w('headRoll') },
    };
  };
}

/** @returns {Eye} */
function readEye(w, name, side) {
  const of = (shape) => w(shape + name);
  const blink = of('eyeBlink');
  const upper =
    0.74 +
    0.26 * of('eyeWide') -
    0.26 * of('eyeSquint') -
    0.3 * of('eyeLookDown') +
    0.12 * of('eyeLookUp') -
    0.18 * of('browDown');
  const lower =
    -0.98 -
    0.04 * of('eyeWide') +
    0.36 * of('eyeSquint') +
    0.18 * of('cheekSquint') +
    0.12 * of('mouthSmile') +
    0.12 * of('noseSneer');
  const shut = -0.4; // where the lids meet
  return {
    side,
    upper: upper + blink * (shut - upper),
    lower: lower + blink * (shut - lower),
    gazeX: side * (of('eyeLookOut') - of('eyeLookIn')),
    gazeY: of('eyeLookDown') - of('eyeLookUp'),
    frown: of('browDown'),
  };
}

/** @returns {Brow} */
function readBrow(w, name, side) {
  const down = w(`browDown${name}`);
  const inner = w('browInnerUp');
  const outer = w(`browOuterUp${name}`);
  return {
    side,
    inner: 24 * inner - 24 * down + 2 * outer,
    middle: 13 * inner - 15 * down + 13 * outer,
    outer: 1 * inner - 5 * down + 22 * outer,
    inward: 7 * down,
  };
}

/** @returns {Mouth} */
function readMouth(w) {
  const both = (shape) => 0.5 * (w(`${shape}Left`) + w(`${shape}Right`));
  const pucker = w('mouthPucker');
  const funnel = w('mouthFunnel');
  const open = w('jawOpen') * JAW_DROP;
  const close = Math.min(open, w('mouthClose') * JAW_DROP);
  const press = both('mouthPress');
  const frown = both('mouthFrown');
  const shift = 26 * (w('mouthLeft') - w('mouthRight'));
  const jawX = 22 * (w('jawLeft') - w('jawRight'));
  const upper =
    -1 -
    20 * both('mouthUpperUp') -
    7 * frown -
    13 * funnel -
    8 * both('noseSneer') +
    close * 0.12 -
    9 * w('mouthShrugUpper') +
    3 * w('mouthRollUpper');
  const lower =
    -1 +
    open -
    close * 0.88 -
    7 * frown +
    19 * both('mouthLowerDown') +
    15 * funnel -
    4 * w('mouthRollLower') -
    15 * w('mouthShrugLower') -
    3 * press;
  const crossed = Math.max(0, upper - lower); // pressed lips meet in the middle
  return {
    ...readLips(w, { pucker, funnel, press }),
    corners: [readCorner(w, 'Right', -1), readCorner(w, 'Left', 1)].map(({ x, y }) => ({
      x: x + shift + 0.4 * jawX,
      y: y + 0.16 * (open - close) + 0.3 * Math.min(upper, 0),
    })),
    middle: shift + 0.7 * jawX,
    upper: upper - 0.5 * crossed,
    lower: lower + 0.5 * crossed,
    slant: -16 * (w('mouthUpperUpLeft') - w('mouthUpperUpRight')),
    sag: 14 * (w('mouthLowerDownLeft') - w('mouthLowerDownRight')),
    jaw: open,
    jawX,
    tongue: w('tongueOut'),
    tuck: w('mouthRollLower'),
  };
}

/** Thickness and roundness of the lips. */
function readLips(w, { pucker, funnel, press }) {
  const thin = (1 - 0.45 * press) * (1 + 0.35 * pucker + 0.3 * funnel);
  return {
    upperLip: 12 * thin * (1 - 0.7 * w('mouthRollUpper')) + 2 * w('mouthShrugUpper'),
    lowerLip:
      15 * thin * (1 - 0.62 * w('mouthRollLower')) +
      4 * w('mouthShrugLower') +
      3 * w('jawForward'),
    round: Math.min(1, 0.3 + 0.8 * pucker + 0.75 * funnel),
  };
}

/** A corner of the mouth. @param {number} side */
function readCorner(w, name, side) {
  const of = (shape) => w(shape + name);
  const wide =
    1 +
    0.2 * of('mouthSmile') +
    0.2 * of('mouthStretch') +
    0.1 * of('mouthDimple') -
    0.05 * of('mouthFrown') -
    0.52 * w('mouthPucker') -
    0.42 * w('mouthFunnel') -
    0.12 * w('jawOpen') +
    0.04 * w('cheekPuff');
  const lift =
    5 +
    25 * of('mouthSmile') +
    4 * of('mouthDimple') -
    24 * of('mouthFrown') -
    5 * of('mouthStretch') -
    5 * w('mouthPucker') -
    5 * w('mouthFunnel');
  return { x: side * MOUTH_HALF_WIDTH * Math.max(0.3, wide), y: -lift };
}
