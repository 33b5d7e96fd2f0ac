/** Rows must not jump just before a click: a list below a moving pointer is refreshed later. */

const POINTER_IDLE = 600;
const MAX_DEFERRALS = 4;

let movedAt = 0;
let deferrals = 0;

export function watchPointer() {
  document.addEventListener("pointermove", (event) => {
    if ((event.movementX || event.movementY) && event.target.closest?.("#list")) movedAt = Date.now();
  }, { passive: true });
}

/** Tell whether to leave the list as it is for now; after some times it is refreshed all the same. */
export function isPointerOverList() {
  if (Date.now() - movedAt < POINTER_IDLE && deferrals < MAX_DEFERRALS) {
    deferrals += 1;
    return true;
  }
  deferrals = 0;
  return false;
}

/** The milliseconds after which a list that was left as it is should be refreshed, or 0. */
export const deferral = () => (deferrals ? POINTER_IDLE : 0);

/** Refresh the list the next time: who moves the pointer has just done something. */
export function endDeferral() {
  deferrals = MAX_DEFERRALS;
}
