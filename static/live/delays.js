// @ts-check
// How long to wait before something is tried again.

/** In ms, as all times here. */
export const SECOND = 1000;

/** What has held for so long begins at the first delay again. */
export const STABLE_AFTER = 10 * SECOND;

const FIRST_DELAY = SECOND;
const LONGEST_DELAY = 30 * SECOND;

/**
 * A time to wait, drawn from a range that grows with every attempt.
 * @param {number} attempts
 */
export function draw(attempts) {
  return Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempts);
}
