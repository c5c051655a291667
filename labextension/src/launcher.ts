/** A card in the launcher. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';

import { CommandIDs } from './commands.js';
import { IJobs, type Jobs } from './model.js';

export const launcherPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:launcher',
  description: 'A card for the jobs in the launcher.',
  autoStart: true,
  requires: [IJobs],
  optional: [ILauncher],
  activate: (_app: JupyterFrontEnd, jobs: Jobs, launcher: ILauncher | null) => {
    launcher?.add({ command: CommandIDs.show, category: jobs.trans.__('Other'), rank: 50 });
  }
};
