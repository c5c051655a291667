/** A notification when a job ends: in one page of a browser, whichever that is, and once. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { CommandIDs } from './commands.js';
import { span } from './format.js';
import { isNews, claim } from './once.js';
import { IJobs, type IJobEvent, type Jobs } from './model.js';

export type When = 'all' | 'failed' | 'never';

export const notificationsPlugin: JupyterFrontEndPlugin<void> = {
  id: 't2notebook:notifications',
  description: 'Tells that a job has ended.',
  autoStart: true,
  requires: [IJobs],
  optional: [ISettingRegistry],
  activate: (app: JupyterFrontEnd, jobs: Jobs, registry: ISettingRegistry | null) => {
    let when: When = 'all';
    void registry?.load(notificationsPlugin.id).then(
      settings => {
        const take = () => (when = settings.get('when').composite as When);
        settings.changed.connect(take);
        take();
      },
      error => console.warn('t2notebook:', error)
    );
    jobs.happened.connect(async (_, event) => {
      if (isNews(event, when) && (await claim(`${event.job_id}:${event.state}`))) {
        tell(app, jobs, event);
      }
    });
  }
};

function tell(app: JupyterFrontEnd, jobs: Jobs, event: IJobEvent): void {
  const trans = jobs.trans;
  const took = event.seconds ? span(event.seconds) : '';
  const kind = event.state === 'COMPLETED' ? 'success' : event.state === 'KILLED' ? 'info' : 'error';
  const texts: Record<string, string> = {
    COMPLETED: trans.__('Job %1 has completed, after %2.', event.name, took),
    KILLED: trans.__('Job %1 was killed, after %2.', event.name, took),
    FAILED: trans.__('Job %1 has failed, after %2.', event.name, took),
    LOST: trans.__('The session of job %1 was lost; attach takes the job up again.', event.name)
  };
  const reason = event.state === 'FAILED' && event.message ? `\n${event.message.slice(0, 200)}` : '';
  Notification.emit(`${texts[event.state] ?? event.state}${reason}`, kind, {
    autoClose: kind === 'error' ? false : 8000,
    actions: [
      {
        label: trans.__('Show'),
        callback: () => void app.commands.execute(CommandIDs.show, { jobId: event.job_id })
      }
    ]
  });
}
