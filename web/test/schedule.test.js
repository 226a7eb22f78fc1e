import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaceTime } from '../src/facetime.js';
import { HeardClock, SoundSchedule } from '../src/schedule.js';
import { seeded } from '../testing/random.js';

const RATE_HZ = 16000;
const SIZE = 320; // 20 ms
const SERVER_S = 500; // server time at context time 0

/** @param {number} k @param {number} [loudness] */
const piece = (k, loudness = 5000, drift = 0) => ({
  rate_hz: RATE_HZ,
  first: k * SIZE,
  at_s: SERVER_S + 1 + ((k * SIZE) / RATE_HZ) * (1 + drift),
  samples: new Int16Array(SIZE).fill(loudness),
});
const due = ({ at_s }) => at_s - SERVER_S;

/** Place pieces that come 0.1 s before they are due. */
function placeAll(schedule, pieces, ahead_s = () => 0.1) {
  return pieces.map((one) => schedule.place(one, due(one) - ahead_s(one), due(one)));
}

test('pieces that follow each other join to the sample, whatever their times say', () => {
  const random = seeded(7);
  const schedule = new SoundSchedule(RATE_HZ);
  const pieces = Array.from({ length: 500 }, (_, k) => {
    const one = piece(k);
    return { ...one, at_s: one.at_s + 0.04 * (random() - 0.5) };
  });
  const placed = placeAll(schedule, pieces);
  for (const { start_s, end_s, at_s } of schedule.segments) {
    const middle_s = (start_s + end_s) / 2;
    const heard_s = at_s + middle_s - start_s;
    assert.ok(Math.abs(heard_s - SERVER_S - middle_s) < 0.025); // within the first one's jitter
  }
  placed.forEach(({ frame, joins, skip }, k) => {
    assert.equal(frame, placed[0].frame + k * SIZE);
    assert.equal(joins, k > 0);
    assert.equal(skip, 0);
  });
  assert.ok(Math.abs(placed[0].frame / RATE_HZ - due(pieces[0])) < 1e-4);
});

test('a gap and a smaller number begin a new stream at its own time', () => {
  const schedule = new SoundSchedule(RATE_HZ);
  const numbers = [0, 1, 2, 10, 11];
  const placed = placeAll(
    schedule,
    numbers.map((k) => piece(k)),
  );
  assert.deepEqual(
    placed.map(({ joins }) => joins),
    [false, true, true, false, true],
  );
  assert.ok(Math.abs(placed[3].frame / RATE_HZ - due(piece(10))) < 1e-4);
  assert.equal(schedule.gaps, 1);
  const again = { ...piece(0), at_s: SERVER_S + 3 };
  const { frame, joins } = schedule.place(again, 2.5, 3);
  assert.equal(joins, false);
  assert.equal(frame, 3 * RATE_HZ);
});

test('a late piece is played late; of a later one, what is late is left out', () => {
  const schedule = new SoundSchedule(RATE_HZ);
  const late = schedule.place(piece(0), 1.005, 1);
  assert.ok(late.frame / RATE_HZ >= 1.025 - 1e-9 && late.skip === 0);
  assert.equal(schedule.place({ ...piece(1), first: 99999 }, 3, 1.5), null);
  assert.equal(schedule.late, 1);
  const long = { ...piece(0), samples: new Int16Array(RATE_HZ), at_s: SERVER_S + 4 };
  const { frame, skip } = schedule.place(long, 4.28, 4);
  assert.ok(Math.abs((frame - skip) / RATE_HZ - 4) < 1e-3 && skip > 0);
  assert.ok(Math.abs(schedule.heardTime(4.5) - SERVER_S - 4.5) < 1e-3);
});

test('an underrun fades in anew instead of joining what has already ended', () => {
  const schedule = new SoundSchedule(RATE_HZ);
  schedule.place(piece(0), 0.9, 1);
  const { joins, frame } = schedule.place(piece(1), 1.026, due(piece(1)));
  assert.equal(joins, false);
  assert.ok(frame / RATE_HZ > 1.026);
});

test('quartzes that drift apart are brought together in the pauses, and only there', () => {
  for (const drift of [2e-4, -2e-4]) {
    const schedule = new SoundSchedule(RATE_HZ);
    let worst_s = 0;
    let end = null;
    for (let k = 0; k < 90000; k += 1) {
      const loud = k % 250 < 200; // 4 s of speech, 1 s of pause
      const one = piece(k, loud ? 5000 : 0, drift);
      const { frame, skip } = schedule.place(one, due(one) - 0.1, due(one));
      if (loud && k % 250 > 0 && end !== null) assert.ok(frame === end && skip === 0);
      end = frame + SIZE - skip;
      worst_s = Math.max(worst_s, Math.abs((frame - skip) / RATE_HZ - due(one)));
    }
    assert.ok(worst_s < 0.012, `${drift}: ${worst_s}`);
  }
});

test('the time that is heard is that of the sample at the loudspeaker', () => {
  const schedule = new SoundSchedule(RATE_HZ);
  placeAll(
    schedule,
    [0, 1, 2, 3].map((k) => piece(k)),
  );
  assert.ok(Number.isNaN(schedule.heardTime(0.99)));
  for (const t_s of [1.001, 1.03, 1.079]) {
    assert.ok(Math.abs(schedule.heardTime(t_s) - (SERVER_S + t_s)) < 1e-3);
  }
  assert.ok(Number.isNaN(schedule.heardTime(1.081)));
});

test('a stream that cuts another short is heard from its beginning on', () => {
  const schedule = new SoundSchedule(RATE_HZ);
  placeAll(
    schedule,
    Array.from({ length: 20 }, (_, k) => piece(k)),
  );
  const cut = { ...piece(0), at_s: SERVER_S + 1.105 };
  assert.equal(schedule.place(cut, 1.05, 1.105).joins, false);
  assert.ok(Math.abs(schedule.heardTime(1.09) - SERVER_S - 1.09) < 1e-3);
  assert.ok(Math.abs(schedule.heardTime(1.11) - SERVER_S - 1.11) < 1e-3);
  assert.ok(Number.isNaN(schedule.heardTime(1.13)));
});

test('the device clock: jitter is smoothed, a stall of the device is followed', () => {
  const random = seeded(8);
  const clock = new HeardClock();
  let stall_s = 0;
  for (let frame = 0; frame < 1200; frame += 1) {
    const page_s = 100 + frame / 60;
    if (frame === 600) stall_s = 0.2;
    const jitter_s = 0.004 * (random() - 0.5) + (random() < 0.05 ? 0.03 : 0);
    clock.add(page_s - 90 - stall_s + jitter_s, page_s);
    const error_s = clock.contextTime(page_s) - (page_s - 90 - stall_s);
    if (frame > 60 && Math.abs(frame - 615) > 16) assert.ok(Math.abs(error_s) < 0.0025);
  }
});

test('the device clock ignores what it was told before, and a device that has not begun', () => {
  const clock = new HeardClock();
  clock.add(0, 5);
  assert.equal(clock.known, false);
  clock.add(1, 5);
  clock.add(1, 7);
  assert.equal(clock.pageTime(1), 5);
});

test('while sound plays the face goes by what is heard, before and after by the server', () => {
  const server = { known: true, serverTime: (page_s) => page_s + SERVER_S };
  const heard = { heardTime: (t_s) => (t_s > 2 && t_s < 4 ? t_s + SERVER_S - 0.05 : NaN) };
  const time = new FaceTime(server, heard, 0.01);
  let last_s = NaN;
  for (let frame = 0; frame < 360; frame += 1) {
    const page_s = frame / 60;
    const face_s = time.at(page_s);
    const behind_s = SERVER_S + page_s + 0.01 - face_s;
    if (page_s > 2 && page_s < 4) assert.ok(Math.abs(behind_s - 0.05) < 1e-9);
    if (page_s <= 2 || page_s > 4 + 50 / 60) assert.ok(Math.abs(behind_s) < 1e-9);
    if (page_s > 2.1) assert.ok(face_s - last_s < 1 / 60 + 0.0011); // no leap at the end
    last_s = face_s;
  }
});

test('without a server the face goes by the page clock', () => {
  const time = new FaceTime({ known: false }, null, 0);
  assert.equal(time.at(3), 3);
});
