import type { ESLint } from 'eslint';

export declare const ROOMS: Readonly<Record<string, readonly string[] | string>>;
export declare const roomsPlugin: ESLint.Plugin;
