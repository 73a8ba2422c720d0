import type { BoundUse, Command, Copy, Dispatch, Use } from './commands.js';

/**
 * Commands in which what is only made to be copied elsewhere is made there at once: a tensor that ends in a copy of all
 * of it gives way to the stretch of the buffer that it is copied to, and the copy goes. Writing to several stretches of
 * one buffer is allowed in a dispatch, reading one and writing another is not: where that could be, the copy stays.
 *
 * @param targets buffers that such copies go to, which nothing in the commands reads
 * @param scratch buffers that may be done without
 */
export function madeInPlace(
  segments: readonly (readonly Command[])[],
  targets: ReadonlySet<GPUBuffer>,
  scratch: ReadonlySet<GPUBuffer>,
  device: GPUDevice,
): Command[][] {
  const stretches = stretchesOf(segments.flat(), targets, scratch);
  const removed = new Set<Command>([...stretches.values()].flatMap((turns) => [...turns.values()]));
  return segments.map((commands) =>
    commands
      .filter((command) => !removed.has(command))
      .map((command) => (command.kind === 'copy' ? command : rebound(command, stretches, device))),
  );
}

/** The copy that a use of a buffer ends in, by buffer and turn. */
type Stretches = Map<GPUBuffer, Map<number, Copy>>;

const stretchOf = (stretches: Stretches, { buffer, turn }: Use): Copy | undefined => stretches.get(buffer)?.get(turn);

function stretchesOf(
  commands: readonly Command[],
  targets: ReadonlySet<GPUBuffer>,
  scratch: ReadonlySet<GPUBuffer>,
): Stretches {
  const stretches: Stretches = new Map();
  const give = ({ buffer, turn }: Use, copy: Copy): void => {
    const turns = stretches.get(buffer) ?? new Map<number, Copy>();
    stretches.set(buffer, turns.set(turn, copy));
  };
  const keep = ({ buffer, turn }: Use): void => {
    stretches.get(buffer)?.delete(turn);
  };
  for (const command of commands) {
    if (command.kind !== 'copy' || !targets.has(command.to.buffer)) continue;
    const { from, fromOffset, toOffset, size } = command;
    if (
      fromOffset === 0 &&
      toOffset % 256 === 0 &&
      size === from.buffer.size &&
      scratch.has(from.buffer) &&
      stretchOf(stretches, from) === undefined
    )
      give(from, command);
  }
  for (const command of commands) {
    // Copied twice, or from elsewhere.
    if (command.kind === 'copy' && stretchOf(stretches, command.from) !== command) keep(command.from);
    if (command.kind === 'copy') keep(command.to);
  }
  const seen: Stretches = new Map();
  for (const command of commands) {
    if (command.kind === 'copy') continue;
    const moved = command.uses.filter((use) => stretchOf(stretches, use) !== undefined);
    // What comes up for the first time has no values yet: it is written.
    const read = moved.filter((use) => stretchOf(seen, use) !== undefined);
    for (const use of moved) {
      const copy = stretchOf(stretches, use) as Copy;
      seen.set(use.buffer, (seen.get(use.buffer) ?? new Map<number, Copy>()).set(use.turn, copy));
    }
    if (moved.length > 1) for (const use of read) keep(use);
  }
  return stretches;
}

function rebound(dispatch: Dispatch, stretches: Stretches, device: GPUDevice): Dispatch {
  if (dispatch.uses.every((use) => stretchOf(stretches, use) === undefined)) return dispatch;
  const uses = dispatch.uses.map((use): BoundUse => {
    const copy = stretchOf(stretches, use);
    if (copy === undefined) return use;
    return { ...use, ...copy.to, offset: copy.toOffset + use.offset, size: use.size ?? copy.size - use.offset };
  });
  const entries = uses.map(({ binding, buffer, offset, size }) => ({
    binding,
    resource: size === undefined ? { buffer, offset } : { buffer, offset, size },
  }));
  return { ...dispatch, uses, group: device.createBindGroup({ layout: dispatch.layout, entries }) };
}
