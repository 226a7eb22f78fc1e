/**
 * A small table of what the page measures, shown and hidden with the key d; and what went wrong.
 */

const REFRESH_MS = 500;

const ROWS = [
  ['delay', 'delay_ms', ' ms'],
  ['jitter', 'jitter_ms', ' ms'],
  ['late', 'late', ''],
  ['dropped', 'dropped', ''],
  ['starved', 'starved', ''],
  ['pictures', 'fps', ' / s'],
  ['clock moved', 'offset_ms', ' ms'],
  ['round trip', 'rtt_ms', ' ms'],
  ['sound behind plan', 'sound_ms', ' ms'],
];

export class Overlay {
  /** @param {HTMLElement} element a dl @param {() => Record<string, number>} measure */
  constructor(element, measure) {
    this.element = element;
    this.measure = measure;
    /** @type {Map<string, string>} */
    this.notes = new Map();
    addEventListener('keydown', (event) => {
      if (event.key === 'd' && !event.ctrlKey && !event.metaKey && !event.altKey) this.toggle();
    });
  }

  toggle() {
    this.element.hidden = !this.element.hidden;
    clearInterval(this.timer);
    if (this.element.hidden) return;
    this.refresh();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
  }

  /** Tell something that lasts. @param {string} topic @param {string} text '': no longer so */
  note(topic, text) {
    if (text) this.notes.set(topic, text);
    else this.notes.delete(topic);
    if (!this.element.hidden) this.refresh();
  }

  refresh() {
    const values = this.measure();
    const rows = ROWS.map(([label, key, unit]) => [label, format(values[key]) + unit]);
    const cells = [...rows, ...this.notes].flatMap(([label, text]) => [
      cell('dt', label),
      cell('dd', text),
    ]);
    this.element.replaceChildren(...cells);
  }
}

/** @param {number} value */
function format(value) {
  if (!Number.isFinite(value)) return '–';
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

/** @param {'dt' | 'dd'} kind @param {string} text */
function cell(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}
