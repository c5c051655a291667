/** The status bar's item: how many jobs go on; a click shows them. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { Widget } from '@lumino/widgets';

import { CommandIDs } from './commands.js';
import { element, setText } from './dom.js';
import { jobsIcon } from './icon.js';
import { IJobs, type Jobs } from './model.js';

export const statusPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:status',
  description: 'How many jobs go on, in the status bar.',
  autoStart: true,
  requires: [IJobs],
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, jobs: Jobs, bar: IStatusBar | null) => {
    if (!bar) {
      return;
    }
    const item = new Widget();
    item.addClass('t2-Status');
    const open = element('button', 't2-Button t2-Status-button');
    open.type = 'button';
    open.addEventListener('click', () => void app.commands.execute(CommandIDs.show));
    jobsIcon.element({ container: open, tag: 'span', height: '14px', width: '14px' });
    const count = element('span');
    open.append(count);
    item.node.append(open);
    const draw = () => {
      setText(count, String(jobs.active));
      open.title = jobs.trans._n('%1 Twister2 job goes on', '%1 Twister2 jobs go on', jobs.active);
      open.setAttribute('aria-label', open.title);
    };
    jobs.activeChanged.connect(draw);
    draw();
    bar.registerStatusItem('t2notebook:status', {
      item,
      align: 'left',
      rank: 100,
      isActive: () => jobs.active > 0,
      activeStateChanged: jobs.shownChanged
    });
  }
};
