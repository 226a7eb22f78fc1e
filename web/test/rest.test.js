import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rest, blinkAt } from '../src/rest.js';

const NAMES = ['eyeBlinkLeft', 'eyeBlinkRight', 'jawOpen'];
const JAW = 2;

/** Draw at 60 Hz a face whose jaw stands at 0.8; `missing` tells what the ring would. */
function draw(rest, from_s, to_s, missing, onFrame) {
  for (let t_s = from_s; t_s < to_s; t_s += 1 / 60) {
    const weights = Float32Array.of(0, 0, 0.8);
    rest.apply(weights, missing(t_s), t_s);
    onFrame(t_s, weights);
  }
}

test('a fed face is left as it is', () => {
  draw(
    new Rest(NAMES),
    0,
    10,
    () => 0,
    (t_s, weights) => {
      assert.deepEqual(weights, Float32Array.of(0, 0, 0.8));
    },
  );
});

test('the mouth rests within 200 ms after 100 ms, without a jump, and blinks go on', () => {
  const rest = new Rest(NAMES);
  let last = 0.8;
  let blinked = 0;
  draw(
    rest,
    0,
    20,
    (t_s) => t_s,
    (t_s, weights) => {
      if (t_s <= 0.1) assert.ok(Math.abs(weights[JAW] - 0.8) < 1e-6);
      if (t_s > 0.1 + 0.2 + 2 / 60) assert.ok(weights[JAW] < 1e-6);
      assert.ok(last - weights[JAW] < 0.15);
      last = weights[JAW];
      blinked = Math.max(blinked, weights[0]);
      assert.equal(weights[0], weights[1]);
    },
  );
  assert.ok(blinked > 0.9);
  assert.equal(rest.times, 1);
});

test('it comes back without a jump', () => {
  const rest = new Rest(NAMES);
  draw(
    rest,
    0,
    2,
    (t_s) => t_s,
    () => {},
  );
  let last = 0;
  draw(
    rest,
    2,
    3,
    () => 0,
    (t_s, weights) => {
      assert.ok(weights[JAW] - last < 0.15);
      last = weights[JAW];
      if (t_s > 2.2) assert.ok(Math.abs(last - 0.8) < 1e-6);
    },
  );
});

test('without any frame the face rests from the first picture on', () => {
  const rest = new Rest(NAMES);
  draw(
    rest,
    0,
    1,
    () => Infinity,
    (t_s, weights) => assert.equal(weights[JAW], 0),
  );
  assert.equal(rest.times, 0);
});

test('blinks come every few seconds and depend on the time alone', () => {
  let blinks = 0;
  let shut = false;
  for (let t_s = 5000; t_s < 5600; t_s += 0.005) {
    const value = blinkAt(t_s);
    assert.ok(value >= 0 && value <= 1);
    assert.equal(value, blinkAt(t_s));
    if (value > 0.9 && !shut) blinks += 1;
    shut = shut ? value > 0.1 : value > 0.9;
  }
  assert.ok(blinks > 140 && blinks < 220, `${blinks}`);
});
