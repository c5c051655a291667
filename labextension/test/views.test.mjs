// The parts of the view library that need no page.
import assert from 'node:assert/strict';
import { test } from 'node:test';

const library = name => import(`../../t2notebook/views/static/${name}.js`);

const { linesGone, LogLines } = await library('log_lines');
const { AgentSums, sumsOf } = await library('agent_sums');
const { axisTicks, phasesOf, phasesText } = await library('phases');
const { duration, grouped, mebibytes, percent, span } = await library('format');
const { fittingColumns, gridTemplate } = await library('fitting');
const { lastLine } = await library('notes');
const { mapCells } = await library('agent_map');
const { nextSort, sorted, withFirst } = await library('sorting');
const { rowsInSight } = await library('virtual_rows');
const { Values } = await library('values');
const { workerColumns, Workers } = await library('workers');
const WORKER_COLUMNS = workerColumns();

const STATES = [
  ['RUNNING', 'running', 'active'],
  ['FAILED', 'failed', 'bad'],
  ['PENDING', 'pending', 'waiting'],
  ['FINISHED', 'finished', 'good']
];

function table(fields = {}) {
  return {
    ids: [0, 1, 2, 3],
    states: STATES,
    state: [0, 1, 2, 3],
    agents: [
      ['a-1', 'h1', 'node-10'],
      ['a-2', 'h2', 'node-9']
    ],
    agent: [0, 1, -1, 0],
    progress: [0.29, 0.5, null, 1],
    waiting: 0,
    launched: [1, 1, null, 1],
    started: [2, 2, null, 2],
    finished: [null, 5, null, 9],
    cpus: [1, 1, null, 1],
    mem: [1024, 1024, null, 1024],
    exit_code: { 1: 137 },
    message: { 1: 'killed: out of memory' },
    bad: [1],
    ...fields
  };
}

const workers = (fields, now = 12) => new Workers(table(fields), now, 1_790_000_000, true);

test('times and amounts in words', () => {
  assert.deepEqual([59, 60, 3600, 90000].map(duration), ['59 s', '1 m 00 s', '1 h 00 m', '1 d 01 h']);
  assert.deepEqual([0.004, 0.05, 9.94, 9.96, 61].map(span), ['4 ms', '0.1 s', '9.9 s', '10 s', '1 m 01 s']);
  assert.deepEqual([0.29, 0.999, 1].map(percent), ['29 %', '99 %', '100 %']);
  assert.deepEqual([999, 1000, 50000, 1234567].map(grouped), ['999', '1,000', '50,000', '1,234,567']);
  assert.deepEqual([512, 1536].map(mebibytes), ['512 MiB', '1.5 GiB']);
});

test('rows are sorted by numbers or as people sort texts, without a value last both ways', () => {
  const values = [3, null, 1, undefined, 2, 1];
  assert.deepEqual(sorted(6, at => values[at], false), [2, 5, 4, 0, 1, 3]);
  assert.deepEqual(sorted(6, at => values[at], true), [0, 4, 2, 5, 1, 3]);
  const names = ['node-10', 'node-9', '', 'node-1'];
  assert.deepEqual(sorted(4, at => names[at], false), [3, 1, 0, 2]);
  assert.deepEqual(withFirst(5, [3, 1]), [3, 1, 0, 2, 4]);
});

test('a heading sorts up, down and not', () => {
  const up = nextSort(null, 'state');
  const down = nextSort(up, 'state');
  assert.deepEqual([up.isDown, down.isDown, nextSort(down, 'state')], [false, true, null]);
  assert.deepEqual(nextSort(down, 'agent'), { key: 'agent', isDown: false });
});

test('those in trouble stand first where not all workers are in sight', () => {
  assert.deepEqual(workers().order(null), [0, 1, 2, 3]);
  const many = new Workers({ ...table(), ids: Array.from({ length: 11 }, (_, at) => at), state: 0, bad: [7, 2] }, 1, 0, true);
  assert.deepEqual(many.order(null).slice(0, 4), [7, 2, 0, 1]);
});

test('each column sorts', () => {
  const found = workers({ restarts: { 2: 1 } });
  for (const { key } of WORKER_COLUMNS) {
    for (const isDown of [false, true]) {
      assert.deepEqual([...found.order({ key, isDown })].sort(), [0, 1, 2, 3], key);
    }
  }
  assert.deepEqual(found.order({ key: 'agent', isDown: false }), [1, 0, 3, 2]);
  assert.deepEqual(found.order({ key: 'runtime', isDown: true }), [0, 3, 1, 2]);
});

test('columns that are empty in all rows are not there, nor what all have alike', () => {
  assert.deepEqual(
    [...workers().filled()].sort(),
    ['agent', 'exit_code', 'message', 'progress', 'runtime', 'started', 'state', 'worker_id']
  );
  const bare = new Workers({ ids: [0], states: STATES, state: 2, agents: [], agent: -1 }, 0, null, false);
  assert.deepEqual([...bare.filled()], ['worker_id', 'state']);
  assert.equal(new Workers({}, 0, null, false).length, 0);
  assert.ok(workers({ cpu_used: 0.5, mem_now: 100 }).filled().has('cpu'));
  assert.ok(workers({ message: { 1: 'lost' } }).filled().has('message'));
  assert.ok(!workers({ message: {}, reason: { 1: 'REASON_EXECUTOR_TERMINATED' } }).filled().has('message'));
});

test('a column with one value for all rows is that value', () => {
  const found = workers({ state: 0, agent: 1, started: 2, finished: null, progress: 0.5 });
  assert.deepEqual([0, 3].map(at => found.cell('agent', at).text), ['node-9', 'node-9']);
  assert.equal(found.cell('progress', 2).text, '50 %');
  assert.equal(found.runtime(3), 10);
});

test('use is a bar of what was asked for, and memory near its end stands out', () => {
  const found = workers({ cpu_used: [0.25, 2, null, 1], mem_now: [999.2, 1000.2, null, 512] });
  const { text, fraction, tone, title } = found.cell('cpu', 0);
  assert.deepEqual([text, fraction, tone, title], ['0.3', 0.25, 'active', '0.3 of 1 cpus']);
  assert.deepEqual([found.cell('mem', 0).text, found.cell('mem', 0).tone], ['1000 MiB', 'bad']);
  assert.deepEqual([found.cell('cpu', 1).tone, found.cell('mem', 1).tone], ['ended', 'ended']);
  assert.equal(found.cell('mem', 2).text, '');
});

test('a worker that runs is counted on, one that has ended is not', () => {
  assert.equal(workers().cell('runtime', 0).text, '10 s');
  assert.equal(workers().cell('runtime', 1).text, '3.0 s');
  assert.equal(workers({}, 100).cell('runtime', 0).text, '1 m 38 s');
});

test('the workers of one agent', () => {
  assert.deepEqual(workers().on('node-10').order(null), [0, 3]);
  assert.deepEqual(workers().on('node-10').order({ key: 'worker_id', isDown: true }), [3, 0]);
});

test('columns go where there is no room, those that say least first', () => {
  const filled = new Set(WORKER_COLUMNS.map(({ key }) => key));
  const keys = width => fittingColumns(WORKER_COLUMNS, filled, width).map(({ key }) => key);
  assert.equal(keys(2000).length, WORKER_COLUMNS.length);
  for (const width of [1100, 800, 500, 410, 300, 100]) {
    const shown = fittingColumns(WORKER_COLUMNS, filled, width);
    const needed = shown.reduce((sum, { least }) => sum + least, 0);
    assert.ok(needed <= width || shown.every(({ rank }) => rank === 0), `${width}: ${needed}`);
  }
  assert.ok(!keys(820).includes('started') && keys(820).includes('agent'));
  assert.deepEqual(keys(100), ['worker_id', 'state', 'message']);
  const narrow = fittingColumns(WORKER_COLUMNS, new Set(['worker_id', 'state', 'message']), 235);
  assert.equal(gridTemplate(narrow, 235), '66px minmax(92px, 1fr) minmax(50px, 3fr)');
  assert.equal(gridTemplate(WORKER_COLUMNS, 2000).match(/minmax\([^)]*\)|\d+px/g).length, WORKER_COLUMNS.length);
});

test('only rows in sight exist, and a few around them', () => {
  assert.deepEqual(rowsInSight(0, 270, 27, 1000), { first: 0, end: 14 });
  const middle = rowsInSight(13500, 270, 27, 1000);
  assert.ok(middle.first <= 500 && middle.end >= 510 && middle.end - middle.first <= 20);
  assert.equal(rowsInSight(26730, 270, 27, 1000).end, 1000);
  assert.deepEqual(rowsInSight(0, 270, 27, 0), { first: 0, end: 0 });
  assert.deepEqual(rowsInSight(9999, 270, 27, 3), { first: 0, end: 3 });
  assert.equal(rowsInSight(-50, 270, 27, 100).first, 0);
});

test('the phases of a worker follow each other without a gap', () => {
  const found = workers({ earlier: { 0: [[0, 0.5, 0.7, 4], [4, 5, null, 6]] }, waiting: [6, 0, 0, 0], launched: [7, 1, null, 1], started: [8, 2, null, 2] });
  const phases = phasesOf(found, 0);
  assert.deepEqual(
    phases.map(({ kind, from, to }) => [kind, from, to]),
    [
      ['waiting', 0, 0.5], ['starting', 0.5, 0.7], ['running', 0.7, 4],
      ['waiting', 4, 5], ['starting', 5, 6],
      ['waiting', 6, 7], ['starting', 7, 8], ['running', 8, 12]
    ]
  );
  assert.deepEqual(phases.map(({ tone }) => tone), ['waiting', 'active', 'bad', 'waiting', 'bad', 'waiting', 'active', 'active']);
  assert.deepEqual(phases.filter(({ isOpen }) => isOpen).length, 1);
  assert.deepEqual(phases.map(({ isEarlier }) => isEarlier), [true, true, true, true, true, false, false, false]);
});

test('the phases of a worker that waits, has failed, and has finished', () => {
  const kinds = at => phasesOf(workers(), at).map(({ kind, tone, to, isOpen }) => [kind, tone, to, isOpen]);
  assert.deepEqual(kinds(2), [['waiting', 'waiting', 12, true]]);
  assert.deepEqual(kinds(1).at(-1), ['running', 'bad', 5, false]);
  assert.deepEqual(kinds(3).at(-1), ['running', 'good', 9, false]);
  assert.equal(phasesText(phasesOf(workers(), 1), span), 'waited 1.0 s, was started 1.0 s, ran 3.0 s');
  assert.equal(phasesText(phasesOf(workers(), 2), span), 'waits since 12 s');
  // one of a job whose submit is not known, or that was made by an older session
  const bare = new Workers({ ids: [0], states: STATES, state: 0, agents: [], agent: -1 }, 0, null, false);
  assert.deepEqual(phasesOf(bare, 0), []);
});

test('the marks of an axis are round and few', () => {
  for (const end of [0.001, 0.04, 0.3, 1, 1.7, 2, 9, 42, 100, 3599, 4000, 86400, 1e6]) {
    const ticks = axisTicks(end, 6);
    assert.ok(ticks.length <= 7 && ticks.length >= 2, `${end}: ${ticks}`);
    assert.equal(ticks[0], 0);
    assert.ok(ticks.at(-1) <= end * 1.001, `${end}: ${ticks}`);
  }
  assert.deepEqual(axisTicks(42, 6), [0, 10, 20, 30, 40]);
  assert.deepEqual(axisTicks(20.5, 3), [0, 10, 20]);
  assert.deepEqual(axisTicks(0.3, 6), [0, 0.1, 0.2, 0.3]);
});

test('workers are summed by agent and state', () => {
  const sums = sumsOf(workers());
  assert.equal(sums.waiting, 1);
  assert.equal(sums.text(0), '1 running, 1 finished');
  assert.equal(sums.text(1), '1 failed');
  assert.deepEqual([sums.tone(0), sums.tone(1)], ['active', 'bad']);
  assert.deepEqual(sums.order(null), [1, 0]);
  assert.deepEqual(sums.order({ key: 'name', isDown: false }), [1, 0]);
  assert.deepEqual(sums.order({ key: 'workers', isDown: true }), [0, 1]);
  const given = new AgentSums(['n1', 'n2'], STATES.slice(0, 2), [20, [0, 3]], 7);
  assert.equal(given.text(1), '3 failed, 20 running');
  assert.deepEqual(given.cell('states', 1).parts, [['bad', 3 / 23], ['active', 20 / 23]]);
});

test('all agents fit into the map as long as a cell can be seen', () => {
  for (const total of [1, 24, 400, 2500, 10000]) {
    const { size, across } = mapCells(total, 1000, 220);
    assert.ok(across * (size + 1) - 1 <= 1000);
    assert.ok(Math.ceil(total / across) * (size + 1) - 1 <= 220 || size === 3, `${total}: ${size}`);
  }
  assert.equal(mapCells(4, 1000, 220).size, 18);
});

test('lines that are there already stay', () => {
  assert.equal(linesGone(['a', 'b', 'c'], ['a', 'b', 'c', 'd']), 0);
  assert.equal(linesGone(['a', 'b', 'c'], ['b', 'c', 'd']), 1);
  assert.equal(linesGone(['a', 'b'], ['x', 'y']), 2);
  assert.equal(linesGone([], ['x']), 0);
  const lines = Array.from({ length: 60 }, (_, at) => `line ${at}`);
  assert.equal(linesGone(lines.slice(0, 40), lines.slice(10, 60)), 10);
});

test('lines of a worker are kept when it is not among the newest any more', () => {
  const log = new LogLines();
  log.take({ lines: [[0, 'stdout', 'a'], [1, 'stdout', 'b']], end: 2 });
  log.take({ lines: [[1, 'stdout', 'c']], end: 3, current: [[0, 'stderr', 'half']] });
  assert.deepEqual(log.of(null).map(line => line[2]), ['c', 'half']);
  assert.deepEqual(log.of(0).map(line => line[2]), ['a', 'half']);
  assert.deepEqual(log.of(1).map(line => line[2]), ['b', 'c']);
  log.takeLog({ worker_id: 1, lines: [['stdout', 'all of it']] });
  assert.deepEqual(log.of(1), [[1, 'stdout', 'all of it']]);
  for (let at = 0; at < 1000; at++) log.take({ lines: [[at, 'stdout', 'x']], end: 4 + at });
  assert.ok(log.kept.size <= 200);
});

test('the last line of a traceback says what it was', () => {
  assert.equal(lastLine('x\nKeyError: 2\n'), 'KeyError: 2');
  assert.equal(lastLine(`x\n${'e'.repeat(500)}`).length, 161);
});

test('all that is new is there before anybody hears of any of it', () => {
  const values = new Values({ a: 1 });
  const heard = [];
  values.on('change:a', () => heard.push([values.get('a'), values.get('b')]));
  const never = () => assert.fail();
  values.on('change:b', never);
  values.off('change:b', never);
  values.take({ a: 2, b: 3 });
  assert.deepEqual(heard, [[2, 3]]);
});

test('whatever a table holds, each row is there once in each order, and each cell is a text', () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const some = make => (random() < 0.2 ? null : make());
  const column = (length, make) => {
    const kind = random();
    if (kind < 0.2) return undefined;
    return kind < 0.4 ? some(make) : Array.from({ length }, () => some(make));
  };
  for (let round = 0; round < 200; round++) {
    const length = Math.floor(random() * 30);
    const time = () => Math.round(100 * random()) / 10;
    const found = new Workers(
      {
        ids: Array.from({ length }, (_, at) => 3 * at),
        states: STATES,
        state: random() < 0.5 ? 1 : Array.from({ length }, () => Math.floor(4 * random())),
        agents: [['a', 'h', 'n1']],
        agent: random() < 0.5 ? -1 : Array.from({ length }, () => (random() < 0.5 ? 0 : -1)),
        progress: column(length, random),
        waiting: column(length, time),
        launched: column(length, time),
        started: column(length, time),
        finished: column(length, time),
        cpus: column(length, random),
        mem: column(length, () => 4096 * random()),
        cpu_used: column(length, random),
        mem_now: column(length, () => 4096 * random()),
        restarts: { 0: 1 },
        earlier: length && random() < 0.5 ? { 0: [[0, time(), null, time()], [time(), null, time(), time()]] } : undefined,
        bad: length ? [Math.floor(length * random())] : []
      },
      time(),
      random() < 0.5 ? null : 1_790_000_000,
      random() < 0.5
    );
    const all = Array.from({ length }, (_, at) => at);
    for (const sort of [null, ...WORKER_COLUMNS.map(({ key }) => ({ key, isDown: random() < 0.5 }))]) {
      assert.deepEqual([...found.order(sort)].sort((one, other) => one - other), all);
    }
    for (const index of all) {
      for (const { key } of WORKER_COLUMNS) assert.equal(typeof found.cell(key, index).text, 'string');
      for (const { from, to } of phasesOf(found, index)) assert.ok(from <= to && from >= 0);
    }
    const sums = sumsOf(found);
    assert.equal(sums.waiting + (sums.length ? sums.count(0) : 0), length);
  }
});

test('a catalogue gives the words, and where there is none they are English', async () => {
  const { ENGLISH } = await library('words');
  assert.equal(ENGLISH.__('%1 of %2', 'a %2', 3), 'a %2 of 3');
  assert.equal(ENGLISH._n('%2 agent', '%2 agents', 1, '1'), '1 agent');
  assert.equal(ENGLISH._n('%1 agent', '%1 agents', 0), '0 agents');
  const trans = { __: (text, ...values) => `«${text}»(${values})`, _n: (one, many) => `«${many}»` };
  assert.equal(phasesText(phasesOf(workers(), 2), span, trans), '«waits since %1»(12 s)');
  assert.equal(workerColumns(trans)[0].heading, '«Worker»()');
  const given = new Workers(table(), 12, 1_790_000_000, true, trans);
  assert.equal(given.cell('worker_id', 0).title, '«Click to see what this worker writes»()');
});
