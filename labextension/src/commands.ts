/** The commands, by their ids. */

import { Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { INotebookTracker } from '@jupyterlab/notebook';

import { attach } from './attach.js';
import { jobsIcon } from './icon.js';
import { hasEnded } from '../../t2notebook/views/static/job_list.js';
import type { Jobs } from './model.js';
import type { JobsPanel } from './panel.js';

export namespace CommandIDs {
  export const show = 't2notebook:show-jobs';
  export const kill = 't2notebook:kill-job';
  export const attach = 't2notebook:attach-job';
  export const clear = 't2notebook:clear-ended';
  export const insert = 't2notebook:insert-cell';
}

/** What a new cell begins with. */
export const CELL = '%%twister2 submit --workers 2 --cpus 1 --ram 512 -o job\nenv.worker_id';

export function addCommands(
  app: JupyterFrontEnd,
  jobs: Jobs,
  panel: JobsPanel,
  notebooks: INotebookTracker | null
): void {
  const { commands, shell } = app;
  const trans = jobs.trans;
  const nobody = { type: 'object' as const, properties: {} };
  const one = {
    type: 'object' as const,
    properties: { jobId: { type: 'string' as const, description: trans.__('The id of a job') } }
  };
  commands.addCommand(CommandIDs.show, {
    label: trans.__('Show Twister2 Jobs'),
    caption: trans.__('The jobs of all kernels, on Mesos'),
    icon: args => (args.isPalette ? undefined : jobsIcon),
    describedBy: { args: one },
    execute: args => {
      shell.activateById(panel.id);
      if (typeof args.jobId === 'string' && args.jobId) {
        panel.showJob(args.jobId);
      }
    }
  });
  commands.addCommand(CommandIDs.kill, {
    label: trans.__('Kill a Twister2 Job'),
    describedBy: { args: one },
    isVisible: args => Boolean(args.jobId),
    execute: async args => {
      try {
        await jobs.api.kill(String(args.jobId));
      } catch (error) {
        Notification.error((error as Error).message);
      }
    }
  });
  commands.addCommand(CommandIDs.attach, {
    label: trans.__('Attach to a Twister2 Job'),
    describedBy: { args: one },
    isVisible: args => Boolean(args.jobId),
    execute: args => attach(String(args.jobId), jobs, notebooks)
  });
  commands.addCommand(CommandIDs.clear, {
    label: trans.__('Clear Ended Twister2 Jobs'),
    describedBy: { args: nobody },
    execute: async () => {
      const ended = jobs.store.count(hasEnded);
      const answer = await showDialog({
        title: trans.__('Clear ended jobs?'),
        body: ended
          ? trans._n(
              '%1 job that has ended goes off the list; its results and its history are removed from the disk.',
              '%1 jobs that have ended go off the list; their results and their history are removed from the disk.',
              ended
            )
          : trans.__('All jobs that have ended go off the list; their results and history are removed from the disk.'),
        buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Clear') })]
      });
      if (answer.button.accept) {
        try {
          await jobs.api.clear();
        } catch (error) {
          Notification.error((error as Error).message);
        }
      }
    }
  });
  commands.addCommand(CommandIDs.insert, {
    label: trans.__('Insert a Twister2 Cell'),
    caption: trans.__('A cell that every worker of a job runs'),
    describedBy: { args: nobody },
    isEnabled: () => Boolean(notebooks?.currentWidget),
    execute: async () => {
      const notebook = notebooks?.currentWidget?.content;
      if (notebook) {
        const { NotebookActions } = await import('@jupyterlab/notebook');
        NotebookActions.insertBelow(notebook);
        notebook.activeCell?.model.sharedModel.setSource(CELL);
      }
    }
  });
}
