import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { ConfigError, FormatError } from '../../errors.js';
import { QUEUE } from './job.js';

/**
 * What is signed: a run on its way, what it came to, a checkpoint that another worker goes on from, metrics of a base
 * model.
 */
export type SignedKind = 'job' | 'result' | 'checkpoint' | 'baseline';

const schema = z.object({
  body: z.string(),
  /** 128 random bits in hex: no two messages have the same signature. */
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  signature: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

/** A message of a queue. */
export type Sealed = Readonly<z.infer<typeof schema>>;

const LEAST_SECRET = 16;

/** LOWRANK_QUEUE_SECRET: without one nothing is signed. @throws ConfigError for a short one. */
export function queueSecret(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const secret = environment['LOWRANK_QUEUE_SECRET'] ?? '';
  if (secret === '') return undefined;
  if (secret.length < LEAST_SECRET)
    throw new ConfigError(
      `LOWRANK_QUEUE_SECRET has ${secret.length} characters, and needs at least ${LEAST_SECRET}: openssl rand -hex 32 makes one`,
    );
  return secret;
}

/**
 * HMAC-SHA256 with the secret over `lowrank-queue 1`, the queue's name, the kind, the id of the run, the nonce and the
 * body, each on a line of its own in UTF-8; only the body, which comes last, can contain line breaks. Source: RFC 2104.
 */
function signatureOf(
  secret: string,
  kind: SignedKind,
  id: string,
  { nonce, body }: Pick<Sealed, 'nonce' | 'body'>,
): Buffer {
  return createHmac('sha256', secret).update(['lowrank-queue 1', QUEUE, kind, id, nonce, body].join('\n')).digest();
}

/** A body as a message, signed where there is a secret. */
export function seal(kind: SignedKind, id: string, body: string, secret: string | undefined): Sealed {
  const message = { body, nonce: randomBytes(16).toString('hex') };
  return secret === undefined
    ? message
    : { ...message, signature: signatureOf(secret, kind, id, message).toString('hex') };
}

/**
 * The body of a message.
 * @throws FormatError for anything else than a message, and where the signature is not as the secret asks for.
 */
export function unseal(kind: SignedKind, id: string, message: unknown, secret: string | undefined): string {
  const parsed = schema.safeParse(message);
  if (!parsed.success)
    throw new FormatError(`${id}: the ${kind} in the queue is no message of this version of lowrank`);
  const { signature, body } = parsed.data;
  if (secret === undefined) {
    if (signature !== undefined)
      throw new FormatError(`${id}: the ${kind} in the queue is signed, and LOWRANK_QUEUE_SECRET is not set here`);
    return body;
  }
  if (signature === undefined)
    throw new FormatError(
      `${id}: the ${kind} in the queue is not signed, and LOWRANK_QUEUE_SECRET asks for it: set the same secret wherever lowrank ablate and lowrank worker run`,
    );
  if (!timingSafeEqual(Buffer.from(signature, 'hex'), signatureOf(secret, kind, id, parsed.data)))
    throw new FormatError(
      `${id}: the ${kind} in the queue is signed with another secret than LOWRANK_QUEUE_SECRET, or was changed`,
    );
  return body;
}
