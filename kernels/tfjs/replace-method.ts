/**
 * Replaces a method of one object, whether it is the object's own or its class's.
 * @param make makes the new method from the one before, which is bound to the object
 * @returns what restores the method before
 */
export function replaceMethod<T extends object, K extends keyof T>(
  object: T,
  name: K,
  make: (original: T[K]) => T[K],
): () => void {
  const owned = Object.hasOwn(object, name);
  const original = object[name];
  object[name] = make((original as (...args: unknown[]) => unknown).bind(object) as T[K]);
  return () => {
    if (owned) object[name] = original;
    else delete (object as Partial<T>)[name];
  };
}
