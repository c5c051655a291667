import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compare, elapsed, inTrouble, isActive, JobStore, matches, stateText, tone } from '../../t2notebook/views/static/job_list.js';

function row(fields = {}) {
  return {
    job_id: 'ada-pi-1',
    name: 'pi',
    state: 'STARTED',
    workers: 4,
    running: 4,
    finished_workers: 0,
    failed_workers: 0,
    progress: 0.5,
    submitted: 100,
    started: 101,
    finished: null,
    message: '',
    cpus: 4,
    mem: 2048,
    notebook: '/home/ada/analysis.ipynb',
    session: 'living',
    master: 'local',
    directory: '/d',
    ...fields
  };
}

test('what runs comes first, then what was lost, then the rest, the newest first', () => {
  const rows = [
    row({ job_id: 'a', state: 'COMPLETED', submitted: 400 }),
    row({ job_id: 'b', session: 'lost', submitted: 300 }),
    row({ job_id: 'c', submitted: 100 }),
    row({ job_id: 'd', submitted: 200 }),
    row({ job_id: 'e', state: 'FAILED', submitted: 500, session: 'ended' })
  ];
  assert.deepEqual(
    rows.sort(compare).map(one => one.job_id),
    ['d', 'c', 'b', 'e', 'a']
  );
});

test('a job whose session was lost does not go on', () => {
  const lost = row({ session: 'lost' });
  assert.equal(isActive(lost), false);
  assert.equal(stateText(lost), 'LOST');
  assert.equal(tone(lost), 'bad');
  assert.equal(inTrouble(lost), true);
  assert.equal(elapsed(lost, 1000), null);
});

test('time runs until the end', () => {
  assert.equal(elapsed(row(), 160), 60);
  assert.equal(elapsed(row({ finished: 130, state: 'COMPLETED' }), 160), 30);
  assert.equal(elapsed(row({ submitted: null }), 160), null);
});

test('the filter takes all words, in name, id, state, notebook and message', () => {
  const one = row({ message: 'ZeroDivisionError' });
  for (const text of ['', 'PI', 'ada-pi', 'started', 'analysis', 'zero', 'pi analysis']) {
    assert.ok(matches(one, text, 'all'), text);
  }
  assert.equal(matches(one, 'pi nothing', 'all'), false);
  assert.equal(matches(one, '', 'ended'), false);
  assert.equal(matches(one, '', 'active'), true);
  assert.equal(matches(one, '', 'trouble'), false);
  assert.equal(matches(row({ failed_workers: 1 }), '', 'trouble'), true);
});

test('the store says what has changed', () => {
  const store = new JobStore();
  assert.deepEqual([...store.apply({ all: true, jobs: [row(), row({ job_id: 'b' })] })], ['ada-pi-1', 'b']);
  assert.equal(store.isComplete, false);
  store.apply({ complete: true });
  assert.equal(store.isComplete, true);
  assert.deepEqual([...store.apply({ jobs: [row({ state: 'KILLED' })] })], ['ada-pi-1']);
  assert.equal(store.rows.get('ada-pi-1').state, 'KILLED');
  assert.deepEqual([...store.apply({ gone: ['b'] })], ['b']);
  assert.equal(store.count(() => true), 1);
  // after the stream was opened again, what is not told any more is gone
  const changed = store.apply({ all: true, jobs: [row({ job_id: 'c' })] });
  assert.deepEqual([...changed].sort(), ['ada-pi-1', 'c']);
  assert.deepEqual([...store.rows.keys()], ['c']);
});

test('300 jobs are ordered and filtered in a moment', () => {
  const store = new JobStore();
  store.apply({ all: true, jobs: [...Array(300).keys()].map(at => row({ job_id: `j${at}`, submitted: at })) });
  const begun = performance.now();
  assert.equal(store.ordered('analysis', 'all')[0].job_id, 'j299');
  assert.ok(performance.now() - begun < 100);
});
