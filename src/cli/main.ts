#!/usr/bin/env node
import { registerConfigReference } from './commands/config-reference.js';
import { createProgram } from './program.js';
import { runProcess } from './run.js';

// In the order of the help.
const verbs = [registerConfigReference];

await runProcess(createProgram(verbs));
