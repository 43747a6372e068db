// @ts-check
// The functions that an app gives to be called.

/**
 * Call what an app gave. What it throws is its own, and stops nothing here.
 * @param {Function | undefined} handler
 * @param {any[]} values
 */
export function call(handler, ...values) {
  try {
    handler?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
