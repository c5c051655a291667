import { LabIcon } from '@jupyterlab/ui-components';

/** Workers below a master. */
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24">
<g class="jp-icon3" fill="#616161"><rect x="8" y="3" width="8" height="6" rx="1"/><rect x="2" y="15" width="5.5" height="6" rx="1"/>
<rect x="9.25" y="15" width="5.5" height="6" rx="1"/><rect x="16.5" y="15" width="5.5" height="6" rx="1"/>
<path d="M11.25 9h1.5v2.25h7.25v3.75h-1.5v-2.25h-5.75v2.25h-1.5v-2.25h-5.75v2.25h-1.5v-3.75h7.25z"/></g></svg>`;

export const jobsIcon = new LabIcon({ name: 't2notebook:jobs', svgstr: svg });
