import { registerAblate } from './commands/ablate.js';
import { registerBench } from './commands/bench.js';
import { registerCombine } from './commands/combine.js';
import { registerConfigReference } from './commands/config-reference.js';
import { registerData } from './commands/data.js';
import { registerDoctor } from './commands/doctor.js';
import { registerEval } from './commands/eval.js';
import { registerExport } from './commands/export.js';
import { registerGenerate } from './commands/generate.js';
import { registerInit } from './commands/init.js';
import { registerInspect } from './commands/inspect.js';
import { registerPlan } from './commands/plan.js';
import { registerQuantize } from './commands/quantize.js';
import { registerQuickstart } from './commands/quickstart.js';
import { registerReport } from './commands/report.js';
import { registerTrain } from './commands/train.js';
import { registerVerify } from './commands/verify.js';
import { registerWorker } from './commands/worker.js';
import type { RegisterVerb } from './program.js';

/**
 * All verbs, in the order of the help. Each loads what it runs on when it is called: the help and the version come at
 * once.
 */
export const VERBS: readonly RegisterVerb[] = [
  registerQuickstart,
  registerInit,
  registerTrain,
  registerAblate,
  registerWorker,
  registerData,
  registerPlan,
  registerEval,
  registerGenerate,
  registerExport,
  registerCombine,
  registerQuantize,
  registerInspect,
  registerVerify,
  registerReport,
  registerBench,
  registerDoctor,
  registerConfigReference,
];
