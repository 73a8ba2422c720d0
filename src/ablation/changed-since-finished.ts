import { inputDifferences, inputsOf, type RunInputs } from '../resume/inputs.js';
import { hashRequest, withTokenizer } from '../finetune/load.js';
import { inputsKeyOf } from '../finetune/options.js';
import type { CheckedRequest } from '../finetune/request.js';
import type { RunResult } from './result.js';
import type { AblationRun } from './runs.js';

interface Now {
  readonly requestOf: (run: AblationRun) => Promise<CheckedRequest>;
  readonly evaluationHash: string;
}

/**
 * Tells what of a finished run is no longer as it was when the run was made, one sentence each; files are hashed once
 * for all runs.
 */
export function changesSince({
  requestOf,
  evaluationHash,
}: Now): (run: AblationRun, result: RunResult) => Promise<string[]> {
  const hashes = new Map<string, Promise<RunInputs['files']>>();
  return async (run, { backend, files, config: configBefore, evaluation }) => {
    const { config } = run;
    const key = inputsKeyOf(config);
    const hash =
      hashes.get(key) ??
      requestOf(run)
        .then(withTokenizer)
        .then((request) => hashRequest(request));
    hashes.set(key, hash);
    const before = { format: 1 as const, backend, files, config: configBefore };
    const evaluated = evaluation === evaluationHash ? [] : ['tasks or retained rows are others'];
    return [...inputDifferences(before, inputsOf(await hash, config, backend), config, 'finished'), ...evaluated];
  };
}
