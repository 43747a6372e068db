// Objects whose public members note that they were used.

const isPublic = (name) => typeof name === "string" && !name.startsWith("_") && name !== "constructor";

/** Names of what the class of `object`, and those above it, offer. */
export function publicNames(object) {
  const names = new Set();
  for (let at = Object.getPrototypeOf(object); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    Object.getOwnPropertyNames(at).filter(isPublic).forEach((name) => names.add(name));
  }
  return [...names].sort();
}

/** `object`, with each use of a public member added to the set `used`; what `wrap` names is wrapped. */
export function recorded(object, used, wrap = {}) {
  return new Proxy(object, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (isPublic(name)) used.add(name);
      if (typeof value !== "function" || !isPublic(name)) return value;
      return (...given) => {
        const result = value.apply(target, given);
        return wrap[name] ? recorded(result, ...wrap[name]) : result;
      };
    },
    set(target, name, value) {
      used.add(name);
      return Reflect.set(target, name, value, target);
    },
  });
}
