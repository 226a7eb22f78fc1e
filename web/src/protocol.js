/**
 * The messages of `dualtalker-face-1`: what the server sends is decoded and checked here, what the
 * page sends is encoded here. Times are seconds of the server's monotonic clock.
 */

export const SUBPROTOCOL = 'dualtalker-face-1';
export const PROTOCOL = 1;

const HEADER_BYTES = 24;
const FRAME = 1;
const SOUND = 2;
const MIN_RATE_HZ = 4000;
const MAX_RATE_HZ = 192000;
const MAX_CLOSED_REASON = 80;

/**
 * @typedef {object} Frame
 * @property {'frame'} type
 * @property {number} index running number of the frame
 * @property {number} at_s when to show it
 * @property {number} stamp_s the audio's own time
 * @property {Float32Array} weights one for each name of the hello
 *
 * @typedef {object} Sound
 * @property {'sound'} type
 * @property {number} rate_hz
 * @property {number} at_s when its first sample is to sound
 * @property {number} first running number of its first sample
 * @property {Int16Array} samples mono
 *
 * @typedef {object} RigNote
 * @property {string} url
 * @property {string} sha256
 * @property {Record<string, [string, number][]>} shapes which weights drive each morph target of
 *   the GLB, and factors; the key is mesh/primitive/target, by index
 *
 * @typedef {object} Hello
 * @property {'hello'} type
 * @property {number} protocol
 * @property {string[]} names
 * @property {number} fps
 * @property {number} server_s
 * @property {RigNote} rig
 * @property {string[]} expressions
 *
 * @typedef {object} Pong
 * @property {'pong'} type
 * @property {number} id
 * @property {number} server_s
 */

/** A message that does not follow the protocol; its text says what was found and expected. */
export class ProtocolError extends Error {}

/**
 * Decode a binary message.
 * @param {ArrayBuffer} buffer
 * @param {number} nameCount weights that a frame must have
 * @returns {Frame | Sound}
 * @throws {ProtocolError}
 */
export function decodeBinary(buffer, nameCount) {
  if (buffer.byteLength < HEADER_BYTES) {
    throw new ProtocolError(`found ${buffer.byteLength} bytes; expected a header of 24`);
  }
  const view = new DataView(buffer);
  const version = view.getUint8(1);
  if (version !== PROTOCOL) {
    throw new ProtocolError(`found version ${version}; expected ${PROTOCOL}`);
  }
  const head = {
    count: view.getUint16(2, true),
    number: view.getUint32(4, true),
    at_s: view.getFloat64(8, true),
    stamp: view.getFloat64(16, true),
  };
  if (!Number.isFinite(head.at_s) || !Number.isFinite(head.stamp)) {
    throw new ProtocolError(`found the times ${head.at_s}, ${head.stamp}; expected finite ones`);
  }
  const type = view.getUint8(0);
  if (type === FRAME) return readFrame(buffer, head, nameCount);
  if (type === SOUND) return readSound(buffer, head);
  throw new ProtocolError(`found message type ${type}; expected ${FRAME} or ${SOUND}`);
}

/**
 * @param {ArrayBuffer} buffer
 * @param {{count: number, number: number, at_s: number, stamp: number}} head
 * @param {number} nameCount
 * @returns {Frame}
 */
function readFrame(buffer, head, nameCount) {
  checkLength(buffer, head.count, 4);
  if (head.count !== nameCount) {
    throw new ProtocolError(`found ${head.count} weights; expected ${nameCount}`);
  }
  const weights = floats(buffer, head.count);
  if (!weights.every(Number.isFinite)) {
    throw new ProtocolError('found a weight that is no number; expected finite weights');
  }
  const { number: index, at_s, stamp: stamp_s } = head;
  return { type: 'frame', index, at_s, stamp_s, weights };
}

/**
 * @param {ArrayBuffer} buffer
 * @param {{count: number, number: number, at_s: number, stamp: number}} head
 * @returns {Sound}
 */
function readSound(buffer, head) {
  checkLength(buffer, head.count, 2);
  const { number: rate_hz, at_s, stamp: first } = head;
  if (rate_hz < MIN_RATE_HZ || rate_hz > MAX_RATE_HZ) {
    throw new ProtocolError(`found ${rate_hz} Hz; expected ${MIN_RATE_HZ} to ${MAX_RATE_HZ}`);
  }
  if (head.count === 0) throw new ProtocolError('found sound without samples');
  return { type: 'sound', rate_hz, at_s, first, samples: shorts(buffer, head.count) };
}

/** @param {ArrayBuffer} buffer @param {number} count @param {number} width bytes of an item */
function checkLength(buffer, count, width) {
  const expected = HEADER_BYTES + count * width;
  if (buffer.byteLength !== expected) {
    throw new ProtocolError(`found ${buffer.byteLength} bytes; expected ${expected}`);
  }
}

/** Little-endian floats after the header. @param {ArrayBuffer} buffer @param {number} count */
function floats(buffer, count) {
  const view = new DataView(buffer, HEADER_BYTES);
  return Float32Array.from({ length: count }, (_, i) => view.getFloat32(i * 4, true));
}

/** Little-endian samples after the header. @param {ArrayBuffer} buffer @param {number} count */
function shorts(buffer, count) {
  const view = new DataView(buffer, HEADER_BYTES);
  return Int16Array.from({ length: count }, (_, i) => view.getInt16(i * 2, true));
}

/**
 * Decode a text message. A hello of another protocol is returned as it is, for its number tells
 * the page to load itself again.
 * @param {string} text
 * @returns {Hello | Pong}
 * @throws {ProtocolError}
 */
export function decodeText(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    throw new ProtocolError(`found ${text.slice(0, MAX_CLOSED_REASON)}; expected JSON`);
  }
  if (message?.type === 'pong') {
    requireFinite(message, 'id', 'server_s');
    return message;
  }
  if (message?.type !== 'hello') {
    throw new ProtocolError(`found the type ${message?.type}; expected hello or pong`);
  }
  if (message.protocol === PROTOCOL) checkHello(message);
  return message;
}

/** @param {any} hello */
function checkHello(hello) {
  requireFinite(hello, 'fps', 'server_s');
  const { names, rig } = hello;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw new ProtocolError('hello has no list of names');
  }
  if (typeof rig?.url !== 'string' || typeof rig.sha256 !== 'string' || !isShapes(rig.shapes)) {
    throw new ProtocolError('hello has no rig with url, sha256 and shapes');
  }
}

/** @param {any} shapes */
function isShapes(shapes) {
  const isPart = (part) =>
    Array.isArray(part) && typeof part[0] === 'string' && Number.isFinite(part[1]);
  return (
    shapes !== null &&
    typeof shapes === 'object' &&
    Object.values(shapes).every((parts) => Array.isArray(parts) && parts.every(isPart))
  );
}

/** @param {any} message @param {...string} keys */
function requireFinite(message, ...keys) {
  for (const key of keys) {
    if (!Number.isFinite(message[key])) {
      throw new ProtocolError(`found ${key} = ${message[key]}; expected a number`);
    }
  }
}

/** @param {number} id @returns {string} */
export function encodePing(id) {
  return JSON.stringify({ type: 'ping', id });
}

/**
 * Encode the page's statistics; what is not known yet (not finite) is sent as 0.
 * @param {Record<string, number>} statistics
 * @returns {string}
 */
export function encodeStatistics(statistics) {
  const entries = Object.entries(statistics).map(([key, value]) => [
    key,
    Number.isFinite(value) ? Math.round(value * 1000) / 1000 : 0,
  ]);
  return JSON.stringify({ type: 'stats', ...Object.fromEntries(entries) });
}
