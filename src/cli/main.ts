#!/usr/bin/env node
import { createProgram } from './program.js';
import { runProcess } from './run.js';
import { VERBS } from './verbs.js';

await runProcess(createProgram(VERBS));
