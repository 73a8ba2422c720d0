import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Undefined where Redis is installed; else why suites that need it are skipped. */
export const noRedis: string | undefined =
  spawnSync('redis-server', ['--version']).status === 0
    ? undefined
    : 'no redis-server on this machine: apt-get install redis-server';

/** Undefined where the server can have a certificate too. */
export const noTls: string | undefined = noRedis ?? tlsMissing();

function tlsMissing(): string | undefined {
  if (spawnSync('openssl', ['version']).status !== 0) return 'no openssl on this machine: apt-get install openssl';
  // The port is refused at once; before it, an option that a server without TLS does not know.
  const { stdout, stderr } = spawnSync('redis-server', ['--tls-auth-clients', 'no', '--port', '-1'], {
    encoding: 'utf8',
  });
  return /tls-auth-clients/.test(stdout + stderr) ? 'this redis-server was built without TLS' : undefined;
}

export interface RedisServer {
  readonly url: string;
  /** The certificate that clients have to know. */
  readonly certificate: string;
  stop(): Promise<void>;
}

/**
 * A server of its own, in a temporary folder, on a port that was free; with `tls` it has a certificate that it signed
 * itself.
 */
export async function startRedis({ tls = false }: { readonly tls?: boolean } = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'lowrank-redis-'));
  const port = await freePort();
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')];
  if (tls) {
    const made = spawnSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-keyout',
        key,
        '-out',
        certificate,
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
      ],
      { encoding: 'utf8' },
    );
    if (made.status !== 0) throw new Error(made.stderr);
  }
  const ports = tls
    ? [
        '--port',
        '0',
        '--tls-port',
        String(port),
        '--tls-cert-file',
        certificate,
        '--tls-key-file',
        key,
        '--tls-ca-cert-file',
        certificate,
        '--tls-auth-clients',
        'no',
      ]
    : ['--port', String(port)];
  const args = [...ports, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
  const server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  await new Promise<void>((resolve, reject) => {
    let told = '';
    server.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text;
      if (told.includes('Ready to accept connections')) resolve();
    });
    server.on('error', reject);
    server.on('exit', () => reject(new Error(`redis-server ended:\n${told}`)));
  });
  return {
    url: `${tls ? 'rediss' : 'redis'}://127.0.0.1:${port}`,
    certificate,
    async stop() {
      server.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
