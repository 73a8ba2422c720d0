import type { Redis } from 'ioredis';
import { ConfigError, LowrankError } from '../../errors.js';

type Bullmq = typeof import('bullmq');

/** Loaded when a queue is used: both packages are optional. @throws ConfigError saying how to install them. */
export async function loadBullmq(): Promise<Bullmq> {
  try {
    // In a bundle its names are found under `default` alone.
    const loaded: Bullmq & { readonly default?: Bullmq } = await import('bullmq');
    return loaded.default ?? loaded;
  } catch (error) {
    throw new ConfigError('a queue needs two packages that are not there: npm install bullmq ioredis', {
      cause: error,
    });
  }
}

/**
 * @returns the URL as given. @throws ConfigError unless it is `redis://[user:password@]host[:port][/database]`, or
 * `rediss://` for TLS.
 */
export function queueUrl(text: string): string {
  if (!/^rediss?:$/.test(URL.canParse(text) ? new URL(text).protocol : ''))
    throw new ConfigError(`--queue ${shownUrl(text)}: expected redis://host[:port][/database]`);
  return text;
}

/** The URL without its password, and without all that could be one where it is no URL. */
export function shownUrl(url: string): string {
  const scheme = /^[a-z]+:\/\//i.exec(url)?.[0] ?? '';
  if (!URL.canParse(url) || scheme === '')
    return withoutSecrets(withoutQuery(url).replace(/^[^]*@/, `${scheme}***@`), url);
  const shown = new URL(url);
  if (shown.password !== '') shown.password = '***';
  if (shown.search !== '') shown.search = '***';
  return withoutSecrets(shown.href, url);
}

function withoutQuery(url: string): string {
  const at = url.search(/[?#]/);
  return at < 0 ? url : `${url.slice(0, at)}?***`;
}

/** A text, such as an error of the server, without the password of a URL. */
export function withoutSecrets(text: string, url: string): string {
  const password = URL.canParse(url) ? new URL(url).password : '';
  const forms = [password, decoded(password)].filter((form) => form.length > 3);
  return forms.reduce((shown, form) => shown.replaceAll(form, '***'), text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Other users of a machine see the arguments of its processes: those of this one are taken away. */
export function hideArguments(title: string): void {
  process.title = title;
}

/** How BullMQ and this project connect: what is on the way when the server goes away waits until it is back. */
export function connectionOptions(url: string): { url: string; maxRetriesPerRequest: null } {
  return { url, maxRetriesPerRequest: null };
}

/**
 * A connection that is up.
 * @throws LowrankError when the server cannot be reached now; once it was, a lost connection is waited for.
 */
export async function connect(url: string): Promise<Redis> {
  await loadBullmq();
  const { Redis } = (await import('ioredis')).default;
  let reached = false;
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    lazyConnect: true,
    retryStrategy: (attempt) => (reached ? Math.min(attempt * 100, 2000) : null),
  });
  let reason = 'no connection';
  // Told below, or mended by connecting again.
  redis.on('error', (error: Error) => (reason = error.message));
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    redis.disconnect();
    const message = error instanceof Error && !/closed/.test(error.message) ? error.message : reason;
    const hint = /certificate/.test(message) ? ' (NODE_EXTRA_CA_CERTS=FILE makes a certificate of your own known)' : '';
    throw new LowrankError(`no Redis at ${shownUrl(url)}: ${withoutSecrets(message, url)}${hint}`);
  }
  reached = true;
  return redis;
}
