import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ProtocolError,
  decodeBinary,
  decodeText,
  encodePing,
  encodeStatistics,
} from '../src/protocol.js';

/** A message as the server packs it. */
function pack({ type = 1, version = 1, count, number = 7, at_s = 12.5, stamp = 3.25, items }) {
  const width = type === 2 ? 2 : 4;
  const view = new DataView(new ArrayBuffer(24 + width * items.length));
  view.setUint8(0, type);
  view.setUint8(1, version);
  view.setUint16(2, count ?? items.length, true);
  view.setUint32(4, number, true);
  view.setFloat64(8, at_s, true);
  view.setFloat64(16, stamp, true);
  items.forEach((item, i) => {
    if (type === 2) view.setInt16(24 + 2 * i, item, true);
    else view.setFloat32(24 + 4 * i, item, true);
  });
  return view.buffer;
}

const HELLO = {
  type: 'hello',
  protocol: 1,
  names: ['jawOpen'],
  fps: 60,
  server_s: 1,
  rig: { url: '/rig.glb', sha256: 'ab', shapes: { '0/0/17': [['jawOpen', 1]] } },
  expressions: [],
};

test('a frame comes out as it was packed', () => {
  const frame = decodeBinary(pack({ items: [0, 0.5, 1] }), 3);
  assert.deepEqual(frame, {
    type: 'frame',
    index: 7,
    at_s: 12.5,
    stamp_s: 3.25,
    weights: Float32Array.of(0, 0.5, 1),
  });
});

test('sound comes out as it was packed', () => {
  const items = [0, -32768, 32767];
  const sound = decodeBinary(pack({ type: 2, number: 16000, stamp: 640, items }), 55);
  assert.equal(sound.type, 'sound');
  assert.equal(sound.rate_hz, 16000);
  assert.equal(sound.first, 640);
  assert.deepEqual(sound.samples, Int16Array.from(items));
});

test('wrong lengths, counts, versions, types and numbers are refused', () => {
  const refused = [
    [new ArrayBuffer(23), 1],
    [pack({ items: [0, 0] }).slice(0, 31), 2],
    [pack({ items: [0, 0], count: 3 }), 3],
    [pack({ items: [0, 0], count: 1 }), 1],
    [pack({ items: [0, 0] }), 3],
    [pack({ items: [0], version: 2 }), 1],
    [pack({ items: [0], type: 3 }), 1],
    [pack({ items: [NaN] }), 1],
    [pack({ items: [0], at_s: Infinity }), 1],
    [pack({ type: 2, number: 16000, items: [] }), 1],
    [pack({ type: 2, number: 0, items: [1] }), 1],
    [pack({ type: 2, number: 16000, items: [1, 2], count: 3 }), 1],
  ];
  for (const [buffer, names] of refused) {
    assert.throws(() => decodeBinary(buffer, names), ProtocolError);
  }
});

test('hello and pong are read; what is neither is refused', () => {
  assert.deepEqual(decodeText(JSON.stringify(HELLO)), HELLO);
  assert.equal(decodeText('{"type":"pong","id":3,"server_s":4.5}').server_s, 4.5);
  const refused = [
    '{',
    'null',
    '{"type":"stats"}',
    '{"type":"pong","id":3}',
    JSON.stringify({ ...HELLO, names: [1] }),
    JSON.stringify({ ...HELLO, rig: {} }),
    JSON.stringify({ ...HELLO, rig: { ...HELLO.rig, shapes: { '0/0/17': ['jawOpen'] } } }),
  ];
  for (const text of refused) assert.throws(() => decodeText(text), ProtocolError, text);
});

test('a hello of another protocol is handed on for its number', () => {
  assert.equal(decodeText('{"type":"hello","protocol":2}').protocol, 2);
});

test('what the page sends holds finite numbers only', () => {
  assert.deepEqual(JSON.parse(encodePing(5)), { type: 'ping', id: 5 });
  const told = JSON.parse(encodeStatistics({ delay_ms: 1.23456, rtt_ms: NaN, fps: Infinity }));
  assert.deepEqual(told, { type: 'stats', delay_ms: 1.235, rtt_ms: 0, fps: 0 });
});
