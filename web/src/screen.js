/**
 * The screen stays on, shows nothing but the face, and hides the pointer.
 */

const HIDE_AFTER_MS = 3000;

/** Ask the screen to stay on, again whenever the page is seen anew. */
export function keepAwake() {
  const ask = async () => {
    if (document.visibilityState !== 'visible' || !navigator.wakeLock) return;
    try {
      await navigator.wakeLock.request('screen');
    } catch (error) {
      console.info(`The screen may switch itself off: ${error.message}`);
    }
  };
  document.addEventListener('visibilitychange', ask);
  ask();
}

/** Hide the pointer while it rests. */
export function hidePointer() {
  let timer;
  const show = () => {
    document.documentElement.classList.remove('still');
    clearTimeout(timer);
    timer = setTimeout(() => document.documentElement.classList.add('still'), HIDE_AFTER_MS);
  };
  addEventListener('pointermove', show);
  show();
}

/** A double tap fills the screen, another one leaves it again. */
export function fillScreenOnDoubleTap() {
  addEventListener('dblclick', () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.();
  });
}
