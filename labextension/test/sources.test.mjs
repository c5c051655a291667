// Where a view's data comes from when its kernel is silent. A browser's WebSocket, page and clock are made up here; the
// real ones are in tests/server.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

const sockets = [];
class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  constructor(url) {
    this.url = String(url);
    sockets.push(this);
  }
  open() {
    this.readyState = 1;
    this.onopen?.();
  }
  hear(content) {
    this.onmessage({ data: JSON.stringify(content) });
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.isClosed = true;
  }
}

let answers = [];
globalThis.WebSocket = FakeSocket;
globalThis.window = globalThis;
globalThis.location = { href: 'http://host:8888/lab/tree/a.ipynb' };
globalThis.document = { cookie: '', body: { dataset: { baseUrl: '/user/ada/' } }, getElementById: () => null };
let asked = [];
globalThis.fetch = async path => {
  asked.push(path);
  const [status, content] = answers.shift() ?? [404, { message: `no ${path}` }];
  return { ok: status === 200, status, json: async () => content };
};

const { StreamSource } = await import('../../t2notebook/views/static/stream_source.js');
const { ClusterSource, clusterSource } = await import('../../t2notebook/views/static/cluster_source.js');
const { FormSource } = await import('../../t2notebook/views/static/form_source.js');
const { chosenBefore, keepChosen } = await import('../../t2notebook/views/static/form_memory.js');
const { Relay } = await import('../../t2notebook/views/static/relay.js');
const { Values } = await import('../../t2notebook/views/static/values.js');

const server = { base: '/user/ada/', token: 'secret' };
const settle = () => new Promise(done => setImmediate(done));

function begin() {
  sockets.length = 0;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
}

test('a stream is opened again when it breaks, and says again what was opened', () => {
  begin();
  const source = new StreamSource('ada-pi-1', server);
  assert.equal(sockets[0].url, 'ws://host:8888/user/ada/t2notebook/api/jobs/ada-pi-1/view?token=secret');
  sockets[0].open();
  sockets[0].hear({ snapshot: { live: true }, table: { ids: [0] } });
  source.send({ kind: 'open', worker_id: 3 });
  sockets[0].onclose({ code: 1006 });
  assert.equal(sockets.length, 1);
  mock.timers.tick(500);
  sockets[1].open();
  assert.deepEqual(sockets[1].sent, [{ kind: 'open', worker_id: 3 }]);
  assert.deepEqual(source.get('table'), { ids: [0] });
  source.dispose();
  assert.ok(sockets[1].isClosed);
  mock.timers.tick(60000);
  assert.equal(sockets.length, 2);
  mock.timers.reset();
});

test('nothing is held while nobody looks, and nothing after the end', () => {
  begin();
  const source = new StreamSource('ada-pi-1', server);
  sockets[0].open();
  sockets[0].hear({ snapshot: {} });
  source.send({ kind: 'show', is_shown: false });
  assert.ok(sockets[0].isClosed);
  mock.timers.tick(60000);
  assert.equal(sockets.length, 1);
  source.send({ kind: 'show', is_shown: true });
  assert.equal(sockets.length, 2);
  sockets[1].hear({ snapshot: { final: true } });
  sockets[1].onclose({ code: 1000 });
  mock.timers.tick(60000);
  assert.equal(sockets.length, 2);
  mock.timers.reset();
});

test('where no WebSocket comes through, it asks', async () => {
  begin();
  answers = [[200, { snapshot: { final: false } }], [200, { snapshot: { final: true } }]];
  const source = new StreamSource('ada-pi-1', server);
  sockets[0].onclose({ code: 1006 });
  mock.timers.tick(500);
  sockets[1].onclose({ code: 1006 });
  mock.timers.tick(1000);
  await settle();
  await settle();
  assert.deepEqual(source.get('snapshot'), { final: false });
  mock.timers.tick(1000);
  await settle();
  await settle();
  assert.deepEqual(source.get('snapshot'), { final: true });
  mock.timers.tick(60000);
  await settle();
  assert.deepEqual([answers.length, sockets.length, asked.length], [0, 2, 2]);
  // what somebody wants to know is asked for also after the end
  answers = [[200, { log: { worker_id: 3 } }], [200, { why: { message: 'x', rows: [] } }]];
  source.send({ kind: 'open', worker_id: 3 });
  await settle();
  await settle();
  source.send({ kind: 'why' });
  await settle();
  await settle();
  assert.deepEqual([source.get('log').worker_id, source.get('why').message], [3, 'x']);
  assert.deepEqual(asked.slice(2).map(path => path.split('?')[1]), ['worker=3', 'worker=3&why=1']);
  source.dispose();
  mock.timers.reset();
});

test('a server that knows nothing of the job is not asked again', () => {
  begin();
  const source = new StreamSource('ada-pi-1', server);
  let told = '';
  source.on('change:trouble', () => (told = source.get('trouble')));
  sockets[0].hear({ error: 'no job ada-pi-1' });
  sockets[0].onclose({ code: 1000 });
  mock.timers.tick(60000);
  assert.deepEqual([told, sockets.length], ['no job ada-pi-1', 1]);
  mock.timers.reset();
});

class Comm extends Values {
  sent = [];
  send(message) {
    this.sent.push(message);
  }
}

test('a view goes on with the server while its kernel is silent, and with the kernel when that is back', () => {
  begin();
  let now = 0;
  const clock = mock.method(performance, 'now', () => now);
  const comm = new Comm({ snapshot: { job_id: 'ada-pi-1', live: true, name: 'kernel' }, kernel_id: 'k', beside: 't2-x' });
  const relay = new Relay(comm);
  let draws = 0;
  relay.on('change:snapshot', () => draws++);
  const pass = seconds => {
    for (let at = 0; at < seconds; at++) {
      now += 1000;
      mock.timers.tick(1000);
    }
  };
  pass(4);
  assert.equal(sockets.length, 0, 'a kernel that was heard of is believed');
  pass(3);
  assert.equal(sockets.length, 1);
  assert.equal(relay.get('snapshot').name, 'kernel', 'until the server has said anything');
  sockets[0].open();
  sockets[0].hear({ snapshot: { name: 'server', live: true } });
  assert.deepEqual([relay.get('snapshot').name, relay.get('via'), relay.get('beside'), draws], ['server', 'server', 't2-x', 1]);
  relay.send({ kind: 'open', worker_id: 1 });
  assert.deepEqual([comm.sent.length, sockets[0].sent.length], [0, 1]);
  comm.take({ beat: 1 });
  assert.deepEqual([relay.get('snapshot').name, relay.get('via'), draws], ['kernel', undefined, 2]);
  assert.ok(sockets[0].isClosed);
  relay.send({ kind: 'open', worker_id: 2 });
  assert.equal(comm.sent.length, 1);
  relay.dispose();
  pass(60);
  assert.equal(sockets.length, 1);
  clock.mock.restore();
  mock.timers.reset();
});

test('a server that cannot help is asked again seldom, and one that could not of a job that has ended never', () => {
  begin();
  let now = 0;
  const clock = mock.method(performance, 'now', () => now);
  const comm = new Comm({ snapshot: { job_id: 'ada-pi-1', live: true }, kernel_id: 'k' });
  const relay = new Relay(comm);
  const pass = seconds => {
    for (let at = 0; at < seconds; at++) {
      now += 1000;
      mock.timers.tick(1000);
    }
  };
  pass(7);
  sockets[0].hear({ error: 'no job' });
  pass(20);
  assert.equal(sockets.length, 1);
  pass(20);
  assert.equal(sockets.length, 2);
  sockets[1].hear({ error: 'no job' });
  comm.content.snapshot = { job_id: 'ada-pi-1', live: false };
  pass(100);
  assert.equal(sockets.length, 2);
  relay.dispose();
  clock.mock.restore();
  mock.timers.reset();
});

test('a cluster is asked for while somebody looks, and keeps its last page when it cannot be told', async () => {
  begin();
  const trans = { __: (text, ...values) => `«${text}»${values}`, _n: () => '' };
  const source = new ClusterSource('10.0.0.1:5050', server, 't2-0123456789ab', trans);
  asked = [];
  answers = [[200, { master: 'm' }]];
  assert.equal(await source.ask(), true);
  assert.deepEqual(asked, ['/user/ada/t2notebook/api/cluster?master=10.0.0.1%3A5050']);
  assert.deepEqual(source.get('state'), { page: { master: 'm' }, trouble: '' });
  assert.equal(source.get('beside'), 't2-0123456789ab');
  answers = [[502, {}]];
  mock.timers.tick(2000);
  await settle();
  assert.deepEqual(source.get('state'), { page: { master: 'm' }, trouble: '«the Jupyter server answers HTTP %1»502' });
  source.send({ kind: 'show', is_shown: false });
  mock.timers.tick(60000);
  assert.equal(asked.length, 2);
  answers = [[200, { master: 'm2' }]];
  source.send({ kind: 'show', is_shown: true });
  await settle();
  assert.deepEqual(source.get('state'), { page: { master: 'm2' }, trouble: '' });
  source.dispose();
  mock.timers.tick(60000);
  assert.equal(asked.length, 3);
  mock.timers.reset();
});

test('a form goes on with what was chosen before the page was reloaded, and keeps it for the kernel', async () => {
  begin();
  const kept = new Map();
  globalThis.sessionStorage = { getItem: key => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text) };
  const bodies = [];
  const { fetch } = globalThis;
  globalThis.fetch = (path, options) => (bodies.push(JSON.parse(options.body)), fetch(path));
  keepChosen('t2-0123456789ab', { values: { workers: 4 }, isPending: false });
  const published = { master: 'local', values: { workers: 1 }, others: ['--name', 'pi'] };
  const source = new FormSource(published, server, 't2-0123456789ab');
  answers = [[200, { values: { workers: 4 }, sequence: 0, problem: '' }]];
  await source.ask();
  assert.deepEqual(bodies, [{ master: 'local', others: ['--name', 'pi'], values: { workers: 4 }, sequence: 0 }]);
  answers = [[200, { sequence: 1, problem: 'cpu is 0' }]];
  source.send({ kind: 'change', values: { workers: 5, cpus: 0 }, sequence: 1 });
  await settle();
  assert.deepEqual(source.get('state'), { values: { workers: 4 }, sequence: 1, problem: 'cpu is 0' });
  assert.deepEqual(chosenBefore('t2-0123456789ab'), { values: { workers: 5, cpus: 0 }, isPending: true });
  source.send({ kind: 'submit' });
  assert.equal(bodies.length, 2);
  // an answer to what has been changed meanwhile is none
  answers = [[200, { sequence: 2, fits: 'old' }], [200, { sequence: 3, fits: 'new' }]];
  source.send({ kind: 'change', values: { workers: 6 }, sequence: 2 });
  source.send({ kind: 'change', values: { workers: 7 }, sequence: 3 });
  await settle();
  assert.equal(source.get('state').fits, 'new');
  source.dispose();
  assert.equal(chosenBefore('t2-fedcba987654'), null);
  kept.set('t2notebook:form:t2-0123456789ab', '{');
  assert.equal(chosenBefore('t2-0123456789ab'), null);
  globalThis.fetch = fetch;
  mock.timers.reset();
});

test('a cluster that the server does not know is not shown at all', async () => {
  begin();
  asked = [];
  answers = [[404, { message: 'no session is connected to m' }]];
  assert.equal(await clusterSource('m'), null);
  mock.timers.tick(60000);
  assert.equal(asked.length, 1);
  mock.timers.reset();
});
