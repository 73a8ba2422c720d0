import type { Quantize } from '../../bench/decoder.js';
import { benchDrift } from '../../bench/drift.js';
import { benchGrowth } from '../../bench/growth.js';
import { modelConfigOf, type Dims } from '../../bench/shapes.js';
import { benchLora } from '../../bench/train-step.js';
import { planMemory } from '../../plan/memory.js';
import { renderDrift, renderGrowth } from '../view/bench-run-report.js';
import { tell } from '../options.js';
import { dimsOf, heading, onDevice, type BenchFlags } from './bench.js';
import { print } from '../view/terminal.js';

interface RunFlags extends BenchFlags {
  readonly quantize: Quantize;
  readonly gradientCheckpointing?: true;
  readonly steps: number;
  readonly warmup: number;
}

export interface GrowthFlags extends RunFlags {
  readonly tokens: readonly number[];
  readonly lengths: readonly number[];
}

export type DriftFlags = RunFlags;

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Times and measures steps of growing size. */
export async function runGrowthBench(flags: GrowthFlags): Promise<void> {
  await onDevice(flags, async (device) => {
    const { rank, quantize, steps, warmup, tokens, lengths } = flags;
    const checkpointing = flags.gradientCheckpointing === true;
    const plannedBytes = (dims: Dims): number =>
      planMemory({
        ...{
          model: modelConfigOf(dims),
          backend: device.backend,
          batch: dims.batch,
          seq: dims.seq,
          accumulation: 1,
          gradientCheckpointing: checkpointing,
          optim: 'adamw',
        },
        quantization: quantize === 'none' ? undefined : { quantType: quantize, doubleQuant: true },
        adapter: { method: 'lora', ...benchLora(rank) },
      }).total;
    const measured = await benchGrowth({
      ...{ dims: dimsOf(flags), rank, quantize, steps, warmup, tokens, lengths, plannedBytes, processCpuMs },
      gradientCheckpointing: checkpointing,
      onPhase: tell,
    });
    const report = {
      ...heading('growth', flags, device),
      rank,
      quant: quantize,
      gradient_checkpointing: checkpointing,
      ...measured,
    };
    print(flags.json === true ? `${JSON.stringify(report)}\n` : renderGrowth(report));
  });
}

/** Runs many steps and compares the last with the first. */
export async function runDriftBench(flags: DriftFlags): Promise<void> {
  await onDevice(flags, async (device) => {
    const { rank, quantize, steps, warmup } = flags;
    const checkpointing = flags.gradientCheckpointing === true;
    const tenth = Math.ceil(steps / 10);
    const measured = await benchDrift({
      ...{ dims: dimsOf(flags), rank, quantize, steps, warmup, gradientCheckpointing: checkpointing },
      processBytes: () => {
        const { rss, heapUsed } = process.memoryUsage();
        return { resident: rss, heap: heapUsed };
      },
      processCpuMs,
      onStep: (step, ms) => {
        if (step % tenth === 0) tell(`step ${step} of ${steps}: ${ms.toFixed(1)} ms`);
      },
    });
    const report = {
      ...heading('drift', flags, device),
      rank,
      quant: quantize,
      gradient_checkpointing: checkpointing,
      ...measured,
    };
    print(flags.json === true ? `${JSON.stringify(report)}\n` : renderDrift(report));
  });
}
