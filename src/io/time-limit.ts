/** `node:vm`, as far as it is used here. */
interface VirtualMachine {
  createContext(values: object): object;
  readonly Script: new (source: string) => {
    runInContext(context: object, options: { readonly timeout: number }): unknown;
  };
}

interface Guard {
  readonly context: { work?: () => unknown };
  run(milliseconds: number): unknown;
}

let guard: Guard | undefined | null = null;

/**
 * Runs synchronous work for at most so long. JavaScript cannot interrupt itself: an expression that backtracks without
 * end, or a loop of a dependency, would hang the process. `node:vm` can, and it interrupts whatever its script calls,
 * native expressions too; it costs about 0.1 ms a call. A browser has no such thing: there the work runs without a limit,
 * and whoever would need one for strangers' input asks `canLimitTime` first and refuses it.
 * @param expired makes the error to throw when the time is over.
 */
export function withinTime<T>(milliseconds: number, work: () => T, expired: () => Error): T {
  guard = guard === null ? makeGuard() : guard;
  // A limit within a limit: the outer one is in force.
  if (guard === undefined || guard.context.work !== undefined) return work();
  let result: { readonly value: T } | undefined;
  guard.context.work = () => {
    result = { value: work() };
  };
  try {
    guard.run(milliseconds);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw expired();
    throw error;
  } finally {
    delete guard.context.work;
  }
  return (result as { readonly value: T } | undefined)?.value as T;
}

/** Whether `withinTime` can end what takes too long: in Node, not in a browser. */
export function canLimitTime(): boolean {
  guard = guard === null ? makeGuard() : guard;
  return guard !== undefined;
}

function makeGuard(): Guard | undefined {
  const { process } = globalThis as { readonly process?: { getBuiltinModule?: (name: string) => unknown } };
  // Not imported: this file runs in browsers too.
  const vm = process?.getBuiltinModule?.('node:vm') as VirtualMachine | undefined;
  if (vm === undefined) return undefined;
  const context: Guard['context'] = {};
  const sandbox = vm.createContext(context);
  const script = new vm.Script('work()');
  return { context, run: (timeout) => script.runInContext(sandbox, { timeout }) };
}
