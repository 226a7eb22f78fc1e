import assert from 'node:assert/strict';
import { test } from 'node:test';
import { featureReader } from '../src/features.js';

const SIDED = [
  'eyeBlink',
  'eyeLookDown',
  'eyeLookIn',
  'eyeLookOut',
  'eyeLookUp',
  'eyeSquint',
  'eyeWide',
  'mouthSmile',
  'mouthFrown',
  'mouthDimple',
  'mouthStretch',
  'mouthPress',
  'mouthLowerDown',
  'mouthUpperUp',
  'browDown',
  'browOuterUp',
  'cheekSquint',
  'noseSneer',
];
const SHIFTS = ['jawLeft', 'jawRight', 'mouthLeft', 'mouthRight'];
const NAMES = [
  ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`]),
  ...SHIFTS,
  'jawForward',
  'jawOpen',
  'mouthClose',
  'mouthFunnel',
  'mouthPucker',
  'mouthRollLower',
  'mouthRollUpper',
  'mouthShrugLower',
  'mouthShrugUpper',
  'browInnerUp',
  'cheekPuff',
  'tongueOut',
];
const read = featureReader(NAMES);
const pose = (weights) => read(NAMES.map((name) => weights[name] ?? 0));
const gap = ({ mouth }) => mouth.lower - mouth.upper;

test('each of the 52 weights shows', () => {
  assert.equal(NAMES.length, 52);
  const open = { jawOpen: 0.5 }; // mouthClose shuts an open jaw only
  for (const name of NAMES) {
    assert.notDeepEqual(pose({ ...open, [name]: 1 }), pose(open), name);
  }
});

test('a face that is symmetric stays so', () => {
  for (const name of SIDED) {
    const { eyes, brows, mouth } = pose({ [`${name}Left`]: 0.7, [`${name}Right`]: 0.7 });
    assert.ok(Math.abs(eyes[0].upper - eyes[1].upper) < 1e-9);
    assert.ok(Math.abs(eyes[0].gazeX + eyes[1].gazeX) < 1e-9);
    assert.ok(Math.abs(brows[0].outer - brows[1].outer) < 1e-9);
    assert.ok(Math.abs(mouth.corners[0].x + mouth.corners[1].x) < 1e-9);
    assert.ok(Math.abs(mouth.corners[0].y - mouth.corners[1].y) < 1e-9);
  }
});

test('lips are open on vowels and meet on p, b and m', () => {
  assert.ok(gap(pose({ jawOpen: 0.6 })) > 30);
  assert.ok(gap(pose({})) < 1);
  assert.ok(gap(pose({ jawOpen: 0.3, mouthClose: 0.3 })) < 1);
  assert.ok(gap(pose({ mouthPressLeft: 1, mouthPressRight: 1, mouthRollLower: 0.5 })) < 3);
});

test('eyes shut, and a wink shuts one', () => {
  const { eyes } = pose({ eyeBlinkLeft: 1 });
  assert.ok(Math.abs(eyes[1].upper - eyes[1].lower) < 1e-9);
  assert.ok(eyes[0].upper - eyes[0].lower > 1);
});

test('rounding narrows the mouth, smiling widens and lifts it', () => {
  const width = ({ mouth }) => mouth.corners[1].x - mouth.corners[0].x;
  const smile = pose({ mouthSmileLeft: 1, mouthSmileRight: 1 });
  assert.ok(width(pose({ mouthPucker: 0.8 })) < 0.7 * width(pose({})));
  assert.ok(width(smile) > 1.15 * width(pose({})));
  assert.ok(smile.mouth.corners[0].y < pose({}).mouth.corners[0].y - 15);
});

test('the lips never cross, whatever the weights', () => {
  for (let round = 0; round < 500; round += 1) {
    const weights = Object.fromEntries(
      NAMES.map((name, i) => [name, ((i * 7 + round) % 11) / 10]),
    );
    assert.ok(gap(pose(weights)) >= 0);
  }
});
