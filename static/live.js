// @ts-check
/**
 * Follows the changes of a Kintoun server, live; see README.md beside this file.
 *
 * ES modules without dependencies, for browsers and for Node.
 * @module
 */
export { attach } from "./live/attach.js";
export { connect } from "./live/connection.js";
export { LiveError } from "./live/errors.js";
