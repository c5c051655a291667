/** A button in the toolbar of cells that begin with `%%twister2`: the cell's job. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IToolbarWidgetRegistry, ToolbarButton } from '@jupyterlab/apputils';
import type { Cell, ICodeCellModel } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { Widget } from '@lumino/widgets';

import { CommandIDs } from './commands.js';
import { cellJob, isJobCell } from './celljob.js';
import { jobsIcon } from './icon.js';
import { IJobs, type Jobs } from './model.js';

export const cellPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:cell-toolbar',
  description: "A button on %%twister2 cells that shows the cell's job.",
  autoStart: true,
  requires: [IJobs],
  optional: [IToolbarWidgetRegistry, INotebookTracker],
  activate: (
    app: JupyterFrontEnd,
    jobs: Jobs,
    registry: IToolbarWidgetRegistry | null,
    notebooks: INotebookTracker | null
  ) => {
    registry?.addFactory<Cell>('Cell', 't2notebook-job', cell => {
      if (cell.model.type !== 'code') {
        return new Widget();
      }
      return new CellButton(cell, jobs, () => void showJob(app, jobs, cell, notebooks?.currentWidget ?? null));
    });
  }
};

/** Show the newest job that the cell has submitted; run the cell if it has submitted none. */
async function showJob(
  app: JupyterFrontEnd,
  jobs: Jobs,
  cell: Cell,
  panel: NotebookPanel | null
): Promise<void> {
  const model = cell.model as ICodeCellModel;
  await app.commands.execute(CommandIDs.show);
  await jobs.loaded();
  const path = panel?.context.path ?? '';
  const found = cellJob(model.sharedModel.getSource(), model.executionCount, path, jobs.store.rows.values());
  if (found) {
    await app.commands.execute(CommandIDs.show, { jobId: found.job_id });
  } else {
    await app.commands.execute('notebook:run-cell');
  }
}

class CellButton extends ToolbarButton {
  constructor(
    private _cell: Cell,
    jobs: Jobs,
    onClick: () => void
  ) {
    super({
      icon: jobsIcon,
      tooltip: jobs.trans.__("Show this cell's job; run the cell if it has none"),
      onClick
    });
    this.addClass('t2-CellButton');
    _cell.model.contentChanged.connect(this._draw, this);
    this._draw();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._cell.model?.contentChanged.disconnect(this._draw, this);
    }
    super.dispose();
  }

  private _draw(): void {
    this.setHidden(!isJobCell(this._cell.model.sharedModel.getSource()));
  }
}
