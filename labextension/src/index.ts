/** Twister2 jobs on Apache Mesos in JupyterLab and Notebook 7. */

import { cellPlugin } from './celltoolbar.js';
import { liveViewPlugin } from './liveview.js';
import { launcherPlugin } from './launcher.js';
import { notificationsPlugin } from './notifications.js';
import { jobsPlugin, panelPlugin } from './sidebar.js';
import { statusPlugin } from './status.js';

export default [
  jobsPlugin,
  panelPlugin,
  statusPlugin,
  notificationsPlugin,
  cellPlugin,
  launcherPlugin,
  liveViewPlugin
];
