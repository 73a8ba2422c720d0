import type { AblationRun } from './runs.js';

/** How far a run of an ablation is. */
export interface RunProgress {
  state: 'waits' | 'runs' | 'done' | 'failed';
  step: number;
  totalSteps: number;
  /** Mean loss of a supervised token, in nats. */
  loss?: number;
  validation?: number;
  tokensPerSecond?: number;
}

export type RunChange = Partial<RunProgress>;

/** Shows how far the runs of an ablation are. */
export interface AblationProgress {
  /** A run that is done or failed already needs no more than this. */
  set(run: AblationRun, change: RunChange): void;
  /** A line of its own, above the table where there is one. */
  log(line: string): void;
  stop(): void;
}
