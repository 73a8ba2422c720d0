/**
 * What Node adds to the package: its host for devices, folders and files on disk, models of the Hub, and runs from and
 * to folders.
 */
export { nodeHost } from './device/node.js';
export { resolveDirectory, type ResolveOptions } from './io/hub.js';
export {
  fileSource,
  isDirectory,
  isFile,
  localDirectory,
  stageDirectory,
  writeFileAtomic,
  type StagedDirectory,
} from './io/node.js';
export { openDirectory } from './io/open-directory.js';
export {
  ablateToFolder,
  planAblation,
  type AblationPlan,
  type FolderAblationOptions,
  type FolderAblationResult,
  type PlanAblationOptions,
} from './workspace/ablation/ablate-to-folder.js';
export {
  evaluateTasks,
  type EvaluateTasksRequest,
  type TaskEvaluation,
  type TaskReport,
} from './workspace/evaluate-tasks.js';
export { openRunData } from './workspace/data-files.js';
export { openRun, readRun, type OpenedRun, type OpenRunOptions } from './workspace/open-run.js';
export { openRunSession, type RunSession, type RunSessionRequest } from './workspace/open-run-session.js';
export type { RunFolder } from './finetune/run-folder.js';
export {
  trainToFolder,
  type FolderCallbacks,
  type FolderTrainingOptions,
  type FolderTrainingResult,
} from './workspace/train-to-folder.js';
export { writeRun } from './workspace/write-run.js';
