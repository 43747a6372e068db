// @ts-check
// What goes wrong, as an app is told.

/** Something that the server refused or got wrong. */
export class LiveError extends Error {
  /**
   * @param {string} message
   * @param {{code?: number, errno?: number, details?: any, retryAfter?: number, final?: boolean}}
   *     [facts]
   */
  constructor(message, { code = 0, errno, details, retryAfter, final = false } = {}) {
    super(message);
    this.name = "LiveError";
    /** As of HTTP; 0 for what the server got wrong: a message that does not follow its last. */
    this.code = code;
    /** Of the table of errors. */
    this.errno = errno;
    this.details = details;
    /** In seconds. */
    this.retryAfter = retryAfter;
    /** Whether nothing more will come. */
    this.final = final;
  }
}

/**
 * The error that a message of type `error` tells.
 * @param {{[member: string]: any}} message
 */
export function errorOf({ message, code, errno, details, retry_after: retryAfter }) {
  return new LiveError(message, { code, errno, details, retryAfter });
}
