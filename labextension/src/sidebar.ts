/** The plugins for the jobs and their side bar. */

import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { attach } from './attach.js';
import { addCommands, CommandIDs } from './commands.js';
import { jobsIcon } from './icon.js';
import { IJobs, Jobs } from './model.js';
import { JobsPanel } from './panel.js';

export const jobsPlugin: JupyterFrontEndPlugin<Jobs> = {
  id: 't2notebook:jobs',
  description: 'Jobs that the Jupyter server knows.',
  autoStart: true,
  provides: IJobs,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    const jobs = new Jobs(app.serviceManager, (translator ?? nullTranslator).load('t2notebook'));
    void app.restored.then(() => jobs.ask());
    return jobs;
  }
};

export const panelPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:panel',
  description: 'The side bar with all jobs.',
  autoStart: true,
  requires: [IJobs],
  optional: [INotebookTracker, ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    jobs: Jobs,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const panel = new JobsPanel({
      jobs,
      attach: jobId => void attach(jobId, jobs, notebooks),
      openNotebook: path => void openNotebook(app, path),
      clear: () => void app.commands.execute(CommandIDs.clear)
    });
    panel.id = 't2notebook-jobs';
    panel.title.icon = jobsIcon;
    panel.title.caption = jobs.trans.__('Twister2 jobs');
    // Notebook 7 lists its side bars by their labels; JupyterLab shows the icon alone.
    if (app.name === 'Jupyter Notebook') {
      panel.title.label = jobs.trans.__('Twister2 jobs');
    }
    restorer?.add(panel, 't2notebook-jobs');
    app.shell.add(panel, 'left', { rank: 250 });
    addCommands(app, jobs, panel, notebooks);
    jobs.wanted.connect((_, jobId) => void app.commands.execute(CommandIDs.show, { jobId }));
    for (const command of [CommandIDs.show, CommandIDs.insert, CommandIDs.clear]) {
      palette?.addItem({ command, category: jobs.trans.__('Twister2'), args: { isPalette: true } });
    }
  }
};

/** Open a notebook that a job names: by an absolute path, or one below the server's root. */
async function openNotebook(app: JupyterFrontEnd, path: string): Promise<void> {
  const { PageConfig } = await import('@jupyterlab/coreutils');
  const root = PageConfig.getOption('serverRoot').replace(/\/*$/, '/');
  const inside = path.startsWith(root) ? path.slice(root.length) : path.replace(/^\/+/, '');
  await app.commands.execute('docmanager:open', { path: inside });
}
