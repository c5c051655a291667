import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cellJob, givenName, isJobCell } from '../lib/labextension/src/celljob.js';
import { notebookName } from '../lib/labextension/src/format.js';
import { isNews, take } from '../lib/labextension/src/once.js';
import { Trouble } from '../lib/labextension/src/trouble.js';

test("a notebook's name", () => {
  assert.equal(notebookName('/a/b c/train.v2.ipynb'), 'train.v2');
  assert.equal(notebookName(''), '');
});

test('which cells are for a job, and what they call it', () => {
  assert.ok(isJobCell('%%twister2 submit --workers 2\n1'));
  assert.ok(isJobCell('\n  %%twister2 submit'));
  assert.equal(isJobCell('%%twister22'), false);
  assert.equal(isJobCell('print("%%twister2")'), false);
  assert.equal(givenName('%%twister2 submit --name pi\n--name other'), 'pi');
  assert.equal(givenName('%%twister2 submit --name="a b" --wait'), 'a b');
  assert.equal(givenName("%%twister2 submit --name 'x'"), 'x');
  assert.equal(givenName('%%twister2 submit'), undefined);
});

test("a cell's job is the newest of its name and notebook", () => {
  const job = (name, notebook, submitted) => ({ name, notebook, submitted, job_id: `${name}-${submitted}` });
  const rows = [
    job('pi', '/w/a.ipynb', 1),
    job('pi', '/w/a.ipynb', 3),
    job('pi', '/w/b.ipynb', 5),
    job('a-7', '/w/a.ipynb', 4)
  ];
  assert.equal(cellJob('%%twister2 submit --name pi', 2, 'a.ipynb', rows).job_id, 'pi-3');
  assert.equal(cellJob('%%twister2 submit', 7, 'a.ipynb', rows).job_id, 'a-7-4');
  assert.equal(cellJob('%%twister2 submit', null, 'a.ipynb', rows), undefined);
});

test('one page tells of an end, once', () => {
  const kept = new Map();
  const storage = { getItem: key => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  assert.equal(take('ada-pi-1:COMPLETED', storage), true);
  assert.equal(take('ada-pi-1:COMPLETED', storage), false);
  for (let at = 0; at < 300; at++) {
    assert.equal(take(`job-${at}`, storage), true);
  }
  assert.ok([...kept.values()][0].length < 3000);
  for (const broken of ['{', '7', 'null']) {
    kept.set([...kept.keys()][0], broken);
    assert.equal(take(`after ${broken}`, storage), true);
  }
});

test('what is told follows the setting', () => {
  const end = state => ({ job_id: 'j', state, has_ended: true });
  assert.equal(isNews(end('COMPLETED'), 'all'), true);
  assert.equal(isNews(end('COMPLETED'), 'failed'), false);
  assert.equal(isNews(end('LOST'), 'failed'), true);
  assert.equal(isNews(end('FAILED'), 'never'), false);
  assert.equal(isNews({ job_id: 'j', state: 'STARTED', has_ended: false }, 'all'), false);
});

test('what failed is told until something else is done, and after a connection that broke meanwhile', () => {
  const shown = [];
  const trouble = new Trouble(text => shown.push(text));
  trouble.failed(new Error('it cannot be killed'));
  trouble.connection = 'the connection is broken';
  trouble.connection = '';
  trouble.forget();
  trouble.connection = 'broken again';
  trouble.forget();
  trouble.connection = '';
  assert.deepEqual(shown, [
    'it cannot be killed',
    'the connection is broken',
    'it cannot be killed',
    '',
    'broken again',
    'broken again',
    ''
  ]);
});
