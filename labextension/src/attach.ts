/** Adds a cell that attaches to a job, below the active cell of the notebook in front, and runs it. */

import { Clipboard, Notification } from '@jupyterlab/apputils';
import { NotebookActions, type INotebookTracker } from '@jupyterlab/notebook';

import type { Jobs } from './model.js';

export async function attach(jobId: string, jobs: Jobs, notebooks: INotebookTracker | null): Promise<void> {
  const trans = jobs.trans;
  let source: string;
  try {
    source = await jobs.api.cell(jobId);
  } catch (error) {
    Notification.error((error as Error).message);
    return;
  }
  const panel = notebooks?.currentWidget;
  if (!panel || !panel.isVisible) {
    Clipboard.copyToSystem(source);
    Notification.info(trans.__('No notebook is open: the cell is in the clipboard; paste it into one.'), {
      autoClose: 5000
    });
    return;
  }
  const notebook = panel.content;
  NotebookActions.insertBelow(notebook);
  notebook.activeCell?.model.sharedModel.setSource(source);
  await NotebookActions.run(notebook, panel.sessionContext);
}
