/**
 * What the page's address asks for.
 */

const VIEWS = { front: [0, 4, 1], left: [-35, 4, 1], right: [35, 4, 1], close: [0, 2, 0.72] };

/** Of the 2D face; their colors stand in face.css. */
export const THEMES = ['night', 'day', 'mint', 'amber', 'mono'];

/**
 * @typedef {object} Options
 * @property {'2d' | '3d'} face
 * @property {boolean} audio the page is the loudspeaker
 * @property {number} display_s how long the screen takes to show a picture
 * @property {number} pixelRatio canvas pixels for one CSS pixel; 0: the screen's, 2 at most
 * @property {number} fps at most; 0: the screen's
 * @property {[number, number, number]} camera yaw and pitch in degrees, distance: 1 fits the head
 * @property {'' | 'dark' | 'light'} background '' : as the system asks for
 * @property {string} theme of the 2D face, by name; '': as the background
 */

/**
 * Read the part of the address after the question mark. What cannot be understood is left at its
 * default and told.
 * @param {string} search
 * @param {(problem: string) => void} complain
 * @returns {Options}
 */
export function readOptions(search, complain) {
  const query = new URLSearchParams(search);
  const choice = (key, choices) => {
    const value = query.get(key) ?? choices[0];
    if (choices.includes(value)) return value;
    complain(`${key}=${value}: expected one of ${choices.filter(Boolean).join(', ')}`);
    return choices[0];
  };
  const number = (key, low, high) => {
    const value = Number(query.get(key) ?? 0);
    if (value === 0 || (value >= low && value <= high)) return value;
    complain(`${key}=${query.get(key)}: expected ${low} to ${high}`);
    return 0;
  };
  return {
    face: choice('face', ['3d', '2d']),
    audio: choice('audio', ['0', '1']) === '1',
    display_s: number('display_ms', -500, 500) / 1000,
    pixelRatio: number('pixel_ratio', 0.1, 4),
    fps: number('fps', 1, 240),
    camera: readCamera(query.get('camera') ?? 'front', complain),
    background: choice('background', ['', 'dark', 'light']),
    theme: choice('theme', ['', ...THEMES]),
  };
}

/**
 * @param {string} text
 * @param {(problem: string) => void} complain
 * @returns {[number, number, number]}
 */
function readCamera(text, complain) {
  if (Object.hasOwn(VIEWS, text)) return VIEWS[text];
  const [yaw, pitch = 4, distance = 1, ...rest] = text.split(',').map(Number);
  const fits = Math.abs(yaw) <= 180 && Math.abs(pitch) <= 89 && distance >= 0.2 && distance <= 20;
  if (fits && rest.length === 0) return [yaw, pitch, distance];
  complain(
    `camera=${text}: expected ${Object.keys(VIEWS).join(', ')} or degrees of yaw and pitch ` +
      'and a distance, as in 20,5,1.2',
  );
  return VIEWS.front;
}
